#include "eval/compress.h"

#include <doctest/doctest.h>

#include <string>

#include "base/random.h"

using namespace effllm;

TEST_CASE("compress: an empty text is gzip's header, an empty block and its trailer") {
  CHECK(gzip_bytes("") == 10 + 2 + 8);
}

TEST_CASE("compress: one letter is one block with fixed codes") {
  CHECK(gzip_bytes("a") == 10 + 3 + 8);  // 3 + 8 + 7 bits
}

TEST_CASE("compress: repetition shrinks to almost nothing") {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "abcdefghij";
  CHECK(gzip_bytes(text) < 500);
}

TEST_CASE("compress: random bytes grow by the header and stored blocks only") {
  const RandomStream random(1, "test.compress");
  std::string text;
  for (uint64_t i = 0; i < 200000; ++i) text += static_cast<char>(random.below(i, 256));
  const auto n = static_cast<int64_t>(text.size());
  CHECK(gzip_bytes(text) > n);
  CHECK(gzip_bytes(text) <= n + 18 + 5 * (n / 16383 + 1));
}

TEST_CASE("compress: 2 random bits a byte take little more than 2 bits") {
  const RandomStream random(2, "test.compress");
  std::string text;
  for (uint64_t i = 0; i < 200000; ++i) text += static_cast<char>('a' + random.below(i, 4));
  CHECK(gzip_bytes(text) > 50000);
  CHECK(gzip_bytes(text) < 59000);  // gzip -9: 58252
}
