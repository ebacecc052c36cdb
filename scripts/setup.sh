#!/usr/bin/env bash
# Installs what building, testing and the default corpus need on Debian 12 and 13:
#   scripts/setup.sh [--dev]
# --dev adds the formatter, the linter, a browser for scripts/check_report.sh, and the tools to look into result files. Needs neither root nor network when
# everything is there already.
set -euo pipefail

packages=(
  g++ make cmake ninja-build ccache git ca-certificates curl python3 valgrind
  libdnnl-dev libyaml-cpp-dev libfmt-dev doctest-dev libcli11-dev libhdf5-dev nlohmann-json3-dev libarchive-dev libssl-dev
  libboost-dev # the headers of Boost.Math: Student's t
  libcpp-httplib-dev # effllm serve
  libjs-dygraphs # the plots that zoom in the pages of effllm report
  7zip bzip3 # compressors that effllm eval holds a model against; it does without
  bible-kjv bible-kjv-text # the text of the default corpus, data/kjv.yaml
)
for argument in "$@"; do
  case $argument in
    --dev)
      packages+=(hdf5-tools python3-numpy python3-yaml python3-h5py python3-scipy chromium)
      packages+=(slurmctld slurmd slurm-client munge) # scripts/check_slurm.sh
      # The format of the source is that of Debian 12's clang-format: other versions have another.
      if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
        packages+=(clang-format-14 clang-tidy-14)
      else
        echo "setup: clang-format-14 and clang-tidy-14, for \`make format\` and \`make lint\`, are in Debian 12 alone"
      fi
      ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 0 ;;
    *)
      echo "setup: unknown argument $argument; usage: scripts/setup.sh [--dev]" >&2
      exit 2
      ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: this is not a Debian system; install the counterparts of: ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || {
    echo "setup: run as root: apt-get install ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
echo "setup: done"
