#!/usr/bin/env bash
# Whether bits depend on what the compiler optimises: the kernels are built with -O2 and with -O3, every configuration in
# configs/mixers is trained for three steps with each instruction set of this machine, and the hashes of all weights are
# compared. Dense products by our own kernels, not by oneDNN. Two builds of the program: minutes where ccache is empty.
#   scripts/check_bits.sh [MIXER ...]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export OMP_WAIT_POLICY=passive

for level in 2 3; do
  cmake -S "$root" -B "$root/build/bits-O$level" -G Ninja -DCMAKE_BUILD_TYPE=Release -DEFFLLM_ONEDNN=OFF \
    -DEFFLLM_KERNEL_OPTIMIZATION="-O$level" > /dev/null
  cmake --build "$root/build/bits-O$level" --target effllm
done

cd "$scratch"
cat "$root"/README.md "$root"/CONTRIBUTING.md "$root"/src/README.md > own.txt
effllm() { "$root/build/bits-O$1/effllm" "${@:2}"; }
effllm 3 data prepare own.txt --name own > /dev/null 2>&1

# The hash of all weights after three steps of mixer $3 with kernels of -O$1 and instruction set $2.
weights() {
  rm -rf runs
  EFFLLM_ISA=$2 effllm "$1" train -q --config "$root/configs/mixers/$3.yaml" --set data.corpus=own --set train.batch=2 \
    --set train.context=96 --set train.max_tokens=576 --set eval.max_tokens=192 --name bits > /dev/null
  head -c 65536 runs/bits/ckpt/step_*.safetensors | grep -a -o '"parameters_sha256": *"[0-9a-f]*"' | head -1 | grep -o '[0-9a-f]\{64\}'
}

mixers=("$@")
if ((${#mixers[@]} == 0)); then
  for config in "$root"/configs/mixers/*.yaml; do mixers+=("$(basename "$config" .yaml)"); done
fi
sets=(generic)
for isa in avx2 avx512; do
  ! EFFLLM_ISA=$isa effllm 3 doctor > /dev/null 2>&1 || sets+=("$isa")
done
differ=0 all=0
for isa in "${sets[@]}"; do
  for mixer in "${mixers[@]}"; do
    low=$(weights 2 "$isa" "$mixer") high=$(weights 3 "$isa" "$mixer")
    all=$((all + 1))
    [[ $low == "$high" ]] || { differ=$((differ + 1)) && echo "$isa, $mixer: -O2 and -O3 differ"; }
    echo "$isa $mixer $high"
  done
done
echo "$((all - differ)) of $all trainings have the same bits with -O2 and -O3 (${sets[*]})"
((differ == 0))
