#!/usr/bin/env bash
# GCC turns two bounds on one float, one after the other in a vectorised loop, into a chain of masks: six compares and selects where two instructions do.
#
# Seen with cpp-12 12.2.0-14+deb12u1 of Debian 12 (GCC 12.2, x86-64), -O3, AVX-512. `v = v < lo ? lo : v; v = v > hi ? hi : v;` is two instructions
# a vector in handwritten code (maxps and minps with the constant first keep NaN as the source says). GCC's jump threading sees that what was
# raised to `lo` is not above `hi`, so the loop body becomes branches; if-conversion makes four compares and two masked moves of them.
# -fno-thread-jumps leaves two compares and one select (the other is folded into the next instruction's mask); -O2 and -fno-signed-zeros change nothing;
# only -ffinite-math-only gives maxps and minps, and takes NaN away from the rest of the file. An exponential whose argument is bounded on both sides,
# and with it sigmoid, tanh and GELU, was 10 to 25 % slower in f32 for it.
#
# Output:
#   default: 6 compares and selects, 0 minima and maxima
#   -fno-thread-jumps: 3 compares and selects, 0 minima and maxima
#   -ffinite-math-only: 0 compares and selects, 2 minima and maxima
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
apt-get -o APT::Sandbox::User=root download -qq "cpp-12=12.2.0-14+deb12u1" "libisl23=0.25-1.1" "libmpc3=1.3.1-1" "libmpfr6=4.2.0-1" \
  "libgmp10=2:6.2.1+dfsg1-1.1"
for package in *.deb; do dpkg-deb -x "$package" .; done
export LD_LIBRARY_PATH=$PWD/usr/lib/x86_64-linux-gnu
cat > bounds.c <<'C'
void bounded_squares(const float *x, float *y, long n) {
#pragma omp simd
  for (long i = 0; i < n; ++i) {
    float v = x[i];
    v = v < -104.f ? -104.f : v;
    v = v > 88.8f ? 88.8f : v;
    y[i] = v * v;
  }
}
C
seen=$(for option in "" -fno-thread-jumps -ffinite-math-only; do
  # shellcheck disable=SC2086 # no option is no word
  usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off -fopenmp-simd -march=x86-64-v4 \
    -mprefer-vector-width=512 ${option:+$option $([[ $option == -ffinite* ]] && echo -fno-signed-zeros)} -o bounds.s bounds.c
  awk -v option="${option:-default}" '/zmm/ && /cmpps|blendm|vmovaps.*{/ {selects++} /zmm/ && /maxps|minps/ {bounds++}
    END {printf "%s: %d compares and selects, %d minima and maxima\n", option, selects, bounds}' bounds.s
done)
echo "$seen"
[[ $seen == "default: 6 compares and selects, 0 minima and maxima
-fno-thread-jumps: 3 compares and selects, 0 minima and maxima
-ffinite-math-only: 0 compares and selects, 2 minima and maxima" ]]
