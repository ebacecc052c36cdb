#!/usr/bin/env bash
# 7-Zip takes less memory for PPMd than `mem=` says where it can see how long the input is, and compresses worse for it.
#
# Seen with 7zip 22.01+really26.02+dfsg-0+deb12u1 of Debian 12 (7-Zip 26.02, x86-64). `-m0=PPMd:o=16:mem=256m` on a text of 251,146 bytes:
# as a file, or with stdin redirected from the file, the archive is made with mem22 (4 MiB: 16 times the length, rounded to a power of two);
# through a pipe with mem28, as asked. At order 16 this text fills the 4 MiB, the model starts anew, and 2.6 % more bytes come out. So the sizes of
# a short and a long text under one `-m0=` are not of one compressor: size(train + test) - size(train) wants both through a pipe.
#
# Output:
#   file 65597 PPMD:o16:mem22
#   redirected 65581 PPMD:o16:mem22
#   pipe 63917 PPMD:o16:mem28
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
apt-get -o APT::Sandbox::User=root download -qq "7zip=22.01+really26.02+dfsg-0+deb12u1"
dpkg-deb -x 7zip_*.deb .
seven=usr/bin/7zz
python3 - <<'PY'
# Words of 3 to 6 letters out of 1,000, by xorshift64.
x = 88172645463325252
def draw(n):
    global x
    x ^= x << 13 & 2**64 - 1
    x ^= x >> 7
    x ^= x << 17 & 2**64 - 1
    return x % n
words = ["".join("aeinorst"[draw(8)] for _ in range(3 + draw(4))) for _ in range(1000)]
open("text", "w").write(" ".join(words[draw(1000)] for _ in range(46000)))
PY
options=(-bd -bso0 -bsp0 -m0=PPMd:o=16:mem=256m)
"$seven" a "${options[@]}" file.7z text
"$seven" a "${options[@]}" -si redirected.7z < text
# shellcheck disable=SC2002 # a pipe is the point
cat text | "$seven" a "${options[@]}" -si pipe.7z
seen=$(for how in file redirected pipe; do
  echo "$how $(stat -c %s $how.7z) $("$seven" l -slt $how.7z | sed -n 's/^Method = \(PPMD:.*\)/\1/p' | tail -1)"
done)
echo "$seen"
[[ $seen == "file 65597 PPMD:o16:mem22
redirected 65581 PPMD:o16:mem22
pipe 63917 PPMD:o16:mem28" ]]
