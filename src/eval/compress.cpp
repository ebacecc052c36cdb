#include "eval/compress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "eval/archive.h"
#include "store/program.h"

namespace effllm {
namespace {

constexpr std::array<std::string_view, 3> kSevenZip = {"7zz", "7z", "7za"};
constexpr std::array<std::string_view, 1> kBzip3 = {"bzip3"};

// $0 is 7-Zip. A 7z file can't go through a pipe: it is written to a folder that goes away however the shell ends. The
// text comes through stdin, because 7-Zip takes less than `mem` where it knows the size.
constexpr const char* kPpmdScript =
    "d=$(mktemp -d) || exit\n"
    "trap 'rm -rf \"$d\"' EXIT; trap 'exit 1' HUP INT TERM\n"
    "\"$0\" a -bd -bso0 -bsp0 -m0=PPMd:o=16:mem=256m -si \"$d/a.7z\" && wc -c < \"$d/a.7z\"";

int64_t seven_zip_ppmd(const std::string& program, std::string_view text) {
  const std::string said = run_program({"/bin/sh", "-c", kPpmdScript, program}, text);
  const int64_t bytes = std::strtoll(said.c_str(), nullptr, 10);
  if (bytes <= 0) throw IoError("{} wrote no archive", program);
  return bytes;
}

// One block: what lies in another block is not read. It takes about six times its size of memory.
int64_t bzip3(std::string_view text) {
  const std::string program = find_program(kBzip3);
  if (program.empty()) throw IoError("it is not installed (Debian's package bzip3)");
  const size_t mib = std::max<size_t>((text.size() >> 20) + 1, 16);  // 16 is bzip3's default
  if (mib > 511) throw DataError("a text of {} MiB is longer than its largest block, 511 MiB", mib);
  return static_cast<int64_t>(run_program({program, "-e", "-c", "-b", fmt::format("{}", mib)}, text).size());
}

Compressor ppmd() {
  const std::string program = find_program(kSevenZip);
  if (program.empty()) return {"PPMd (libarchive, order 6, 16 MiB)", ppmd_bytes};
  return {"PPMd (7-Zip, order 16, 256 MiB)",
          [program](std::string_view text) { return seven_zip_ppmd(program, text); }};
}

Compressor by_libarchive(std::string name, const std::string& filter) {
  return {std::move(name), [filter](std::string_view text) { return filtered_bytes(filter, text); }};
}

}  // namespace

std::vector<Compressor> compressors() {
  return {ppmd(),
          {"bzip3 (one block)", bzip3},
          by_libarchive("xz -9 (64 MiB back)", "xz"),
          by_libarchive("bzip2 -9 (blocks of 900 kB)", "bzip2"),
          by_libarchive("gzip -9 (32 KiB back)", "gzip")};
}

}  // namespace effllm
