// Sizes against other programs: Python's modules, the programs themselves, and pyppmd 1.3.1 for PPMd.
#include "eval/compress.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "eval/archive.h"
#include "store/program.h"

using namespace effllm;

namespace {

// Words of 3 to 6 letters out of 1,000, by xorshift64 (Marsaglia 2003).
std::string words(int n) {
  uint64_t x = 88172645463325252;
  const auto next = [&x] {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
  };
  std::vector<std::string> vocabulary(1000);
  for (std::string& word : vocabulary)
    for (uint64_t letters = 3 + next() % 4; letters > 0; --letters) word += "aeinorst"[next() % 8];
  std::string text;
  for (int i = 0; i < n; ++i) text += (i ? " " : "") + vocabulary[next() % 1000];
  return text;
}

const Compressor& named(const std::vector<Compressor>& all, std::string_view part) {
  const auto it =
      std::ranges::find_if(all, [&](const Compressor& c) { return c.name.find(part) != std::string::npos; });
  REQUIRE_MESSAGE(it != all.end(), part);
  return *it;
}

int64_t by_python(const std::string& expression, const std::string& text) {
  const std::string program = "import bz2, lzma, sys, zlib; b = sys.stdin.buffer.read(); print(" + expression + ")";
  return std::atoll(run_program({"/usr/bin/env", "python3", "-c", program}, text).c_str());
}

}  // namespace

TEST_CASE("compress: xz, bzip2 and gzip are of the size that Python's modules give") {
  const auto all = compressors();
  for (const std::string& text : {words(46000), words(300), std::string("a"), std::string()}) {
    CHECK(named(all, "xz -9").bytes(text) == by_python("len(lzma.compress(b, preset=9))", text));
    CHECK(named(all, "bzip2 -9").bytes(text) == by_python("len(bz2.compress(b, 9))", text));
    CHECK(named(all, "gzip -9").bytes(text) == by_python("len(zlib.compress(b, 9)) + 12", text));  // 18 less zlib's 6
  }
}

// 63,819 bytes with all of the 256 MiB; 65,483 with the 4 MiB that 7-Zip takes where it sees the length.
TEST_CASE("compress: PPMd by 7-Zip has order 16 and its memory, less than 200 bytes are the archive's") {
  const auto all = compressors();
  if (all[0].name != "PPMd (7-Zip, order 16, 256 MiB)") {
    MESSAGE("7-Zip is not installed");
    return;
  }
  const std::string text = words(46000);
  REQUIRE(text.size() == 251146);
  CHECK(all[0].bytes(text) > 63819);
  CHECK(all[0].bytes(text) < 63819 + 200);
}

TEST_CASE("compress: PPMd by libarchive has order 6") {
  const int64_t bytes = ppmd_bytes(words(46000));  // pyppmd: order 5 63,066, order 6 63,650, order 7 63,847
  CHECK(bytes > 63650);
  CHECK(bytes < 63650 + 150);
  CHECK(ppmd_bytes("") < 150);
}

TEST_CASE("compress: bzip3 is the program, with all of a long text in one block") {
  const Compressor bzip3 = named(compressors(), "bzip3");
  if (find_program(std::array<std::string_view, 1>{"bzip3"}).empty()) {
    CHECK_THROWS_AS(bzip3.bytes("text"), IoError);
    return;
  }
  const std::string text = words(46000);
  CHECK(bzip3.bytes(text) == static_cast<int64_t>(run_program({"/usr/bin/env", "bzip3", "-e", "-c"}, text).size()));
  std::string twice;  // the second half lies 17 MiB behind the first, and is the same
  while (twice.size() < size_t{17} << 20) twice += words(46000) + "\n";
  const std::string once = twice.substr(0, size_t{1} << 20);
  const std::string far = once + std::string(size_t{16} << 20, 'x') + once;
  CHECK(bzip3.bytes(far) < bzip3.bytes(once) * 5 / 4);
}

TEST_CASE("compress: what is not installed is a reason, and PPMd then is libarchive's") {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const auto all = compressors();
  CHECK(all[0].name == "PPMd (libarchive, order 6, 16 MiB)");
  CHECK(all[0].bytes("text") == ppmd_bytes("text"));
  CHECK_THROWS_WITH_AS(named(all, "bzip3").bytes("text"), "it is not installed (Debian's package bzip3)", IoError);
  CHECK(named(all, "xz").bytes("text") > 0);
  setenv("PATH", path.c_str(), 1);
}

TEST_CASE("compress: a filter that libarchive does not have is an error") {
  CHECK_THROWS_AS(filtered_bytes("no-such-filter", "text"), DataError);
}
