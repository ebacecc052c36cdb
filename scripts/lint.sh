#!/usr/bin/env bash
# clang-tidy over src and apps: scripts/lint.sh BUILD_FOLDER [CHECKS]. The kernels are read once, as the generic set.
# The code is written for GCC: what Clang lacks (attributes, builtins, OpenMP's header) is put in its place here.
set -euo pipefail
build=${1:?usage: scripts/lint.sh BUILD_FOLDER [CHECKS]}
database=$(mktemp -d)
trap 'rm -rf "$database"' EXIT
python3 - "$build" "$database" <<'END'
import json, re, sys
with open(f"{sys.argv[1]}/compile_commands.json") as f:
    commands = [c for c in json.load(f) if "EFFLLM_ISA=" not in c["command"] or "EFFLLM_ISA=generic" in c["command"]]
for c in commands:  # each file with its own includes: what is precompiled is GCC's, and would hide one that is missing
    c["command"] = re.sub(r" -Winvalid-pch -include \S*cmake_pch\.hxx| -fpch-preprocess", "", c["command"])
with open(f"{sys.argv[2]}/compile_commands.json", "w") as f:
    json.dump(commands, f)
END
git ls-files 'src/*.cpp' 'apps/*.cpp' | xargs -P "$(nproc)" -n 4 clang-tidy-14 --quiet -p "$database" \
  ${2:+"--checks=$2"} --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unknown-attributes \
  --extra-arg=-idirafter"$(dirname "$(gcc -print-file-name=include/omp.h)")" '--extra-arg=-D__malloc__(...)=' \
  '--extra-arg=-D__builtin_cpu_supports(x)=1' '--extra-arg=-D__builtin_assoc_barrier(x)=(x)'
