#!/usr/bin/env bash
# Both commands of README in a clean Debian: makes a minimal root with debootstrap, clones HEAD into it, runs
# `scripts/setup.sh`, `make demo` and `make test` there, and prints CPU seconds, bytes and results. Takes root, the
# package debootstrap, and half an hour of two cores.
#   scripts/in_debian.sh bookworm|trixie [--isa SET,...] [--root FOLDER] [--mirror URL]
# --isa: instruction sets to run the tests with (default: avx2 and avx512 where this machine has them)
# --root: where the root is made and kept (default: a temporary folder)
# --mirror: where packages come from (default: where this machine's own apt gets Debian's)
set -euo pipefail

usage() {
  sed -n '5,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
fail() {
  echo "in_debian: $*" >&2
  exit 1
}

release='' sets='' root='' mirror=''
while (($#)); do
  case $1 in
    --isa | --root | --mirror)
      (($# >= 2)) || usage
      case $1 in --isa) sets=${2//,/ } ;; --root) root=$2 ;; --mirror) mirror=$2 ;; esac
      shift 2
      ;;
    bookworm | trixie)
      release=$1
      shift
      ;;
    *) usage ;;
  esac
done
[[ $release ]] || usage
((EUID == 0)) || fail "run it as root: it changes into the new system's root"
command -v debootstrap > /dev/null || fail "debootstrap is missing: apt-get install debootstrap"
if [[ -z $mirror ]]; then
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2> /dev/null |
    grep -E '/debian/?$' | head -n 1) || fail "apt knows no mirror of Debian; give one: --mirror URL"
fi
if [[ -z $sets ]]; then
  sets=generic
  if grep -q ' avx2 ' /proc/cpuinfo; then sets=avx2; fi
  if grep -q ' avx512vl ' /proc/cpuinfo; then sets="avx2 avx512"; fi
fi

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
made=''
[[ $root ]] || { root=$(mktemp -d) && made=$root; }
leave() {
  for place in dev/pts proc; do
    ! mountpoint -q "$root/$place" || umount "$root/$place" || { echo "in_debian: $root is left: $place is busy" >&2; return; }
  done
  [[ -z $made ]] || rm -rf "$made"
}
trap leave EXIT
mkdir -p "$root"
root=$(cd "$root" && pwd)
if [[ ! -e $root/etc/debian_version ]]; then
  echo "in_debian: $release into $root"
  debootstrap --variant=minbase "$release" "$root" "$mirror" > "$root.log" 2>&1 || { tail -n 5 "$root.log" >&2 && fail "debootstrap failed"; }
  rm -f "$root.log"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d" # no package starts a service
chmod +x "$root/usr/sbin/policy-rc.d"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev/pts" || mount -t devpts devpts "$root/dev/pts"
rm -rf "$root/root/effllm"
git clone -q --no-hardlinks "$source" "$root/root/effllm"

bytes() { du -sxB1 --exclude="$root/proc" "$root" | cut -f1; }
summary=()
TIMEFORMAT='%U %S %R'
# The CPU seconds, the time and the bytes of a command in the root, whose output goes to the terminal.
measure() {
  local what=$1 before took
  shift
  before=$(bytes)
  exec 3>&1 4>&2
  took=$({ time chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
    "${environment[@]}" bash -c "cd /root/effllm && $*" 1>&3 2>&4; } 2>&1) || status=1
  summary+=("$(awk -v what="$what" -v bytes=$(($(bytes) - before)) -v failed="${status:-}" '
    {printf "%-24s %6.0f CPU s  %6.0f s  %6.0f MB%s", what, $1 + $2, $3, bytes / 1e6, failed ? "  FAILED" : ""}' <<< "$took")")
  failed=${failed:-}${status:-}
  status=''
}
environment=() failed='' status=''
measure "setup" scripts/setup.sh
measure "build (make)" make all
measure "train, evaluate (demo)" make demo
bits=$(chroot "$root" bash -c 'cd /root/effllm && build/release/effllm eval runs/demo --split test' 2> /dev/null | grep -m 1 -i 'bits' || true)
measure "build tests" make tests
for set in $sets; do
  environment=("EFFLLM_ISA=$set")
  measure "tests, $set" make test
done

echo
echo "== $release: $(chroot "$root" bash -c '. /etc/os-release && echo "$PRETTY_NAME"'), $(chroot "$root" g++ --version | head -n 1)"
printf '%s\n' "${summary[@]}"
echo "$bits"
[[ -z $failed ]]
