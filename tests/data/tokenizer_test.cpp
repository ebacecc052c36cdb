#include "data/tokenizer.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/utf8.h"
#include "support/messages.h"
#include "support/named.h"

using namespace effllm;

TEST_CASE("tokenizer: byte takes every byte value and gives it back") {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  const auto t = build_tokenizer("byte", "");
  CHECK(t->kind() == "byte");
  CHECK(t->vocab_size() == 256);
  const auto ids = t->encode(all);
  REQUIRE(ids.size() == 256);
  for (int32_t c = 0; c < 256; ++c) CHECK(ids[static_cast<size_t>(c)] == c);
  CHECK(t->decode(ids) == all);
  CHECK(t->bytes_of(255) == 1);
  int64_t characters = 0;
  for (const int32_t id : t->encode("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80")) characters += t->characters_of(id);
  CHECK(characters == 4);  // a é € 😀
}

TEST_CASE("tokenizer: char numbers the code points of the text in their order") {
  const auto t = build_tokenizer("char",
                                 "b\xC3\xA9"
                                 "a\xE2\x82\xAC"
                                 "b\xF0\x9F\x98\x80");
  CHECK(t->vocab_size() == 5);  // a b é € 😀
  CHECK(t->encode("\xE2\x82\xAC"
                  "ba\xF0\x9F\x98\x80\xC3\xA9") == std::vector<int32_t>{3, 1, 0, 4, 2});
  CHECK(t->decode(std::vector<int32_t>{2, 0, 4}) ==
        "\xC3\xA9"
        "a\xF0\x9F\x98\x80");
  CHECK(t->bytes_of(0) == 1);
  CHECK(t->bytes_of(2) == 2);
  CHECK(t->bytes_of(3) == 3);
  CHECK(t->bytes_of(4) == 4);
  CHECK(t->characters_of(4) == 1);
}

TEST_CASE("tokenizer: a symbol outside the vocabulary is named with its byte") {
  const auto t = build_tokenizer("char", "abc");
  const std::string message = message_of<DataError>([&] { t->encode("ab\xC3\xA9"); });
  CHECK(has(message, "U+00E9"));
  CHECK(has(message, "byte 2"));
  CHECK_THROWS_AS(t->encode("abd"), DataError);
}

TEST_CASE("tokenizer: char refuses what is not UTF-8, and says where") {
  for (const char* bad : {"ab\xFF", "ab\xC3", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xF4\x90\x80\x80", "ab\xE2\x82"}) {
    CAPTURE(bad);
    CHECK(has(message_of<DataError>([&] { build_tokenizer("char", bad); }), "byte 2"));
  }
  CHECK_THROWS_AS(build_tokenizer("char", ""), DataError);
}

TEST_CASE("tokenizer: an unknown kind is a ConfigError with a suggestion") {
  CHECK(has(message_of<ConfigError>([] { build_tokenizer("bite", "x"); }), "Did you mean `byte`?"));
}

TEST_CASE("tokenizer: ids outside the vocabulary are refused") {
  for (const char* kind : {"byte", "char"}) {
    const auto t = build_tokenizer(kind, "abc");
    const auto v = static_cast<int32_t>(t->vocab_size());
    CHECK_THROWS_AS(t->decode(std::vector<int32_t>{v}), DataError);
    CHECK_THROWS_AS(t->decode(std::vector<int32_t>{-1}), DataError);
    CHECK_THROWS_AS(t->bytes_of(v), DataError);
  }
}

TEST_CASE("tokenizer: JSON brings the same vocabulary back") {
  const std::string text = std::string("\0\x01\"\\\n", 5) + "z\xC3\xA9\xF0\x9F\x98\x80";
  for (const char* kind : {"byte", "char"}) {
    const auto t = build_tokenizer(kind, text);
    const auto back = tokenizer_from_json(t->to_json());
    CHECK(back->kind() == kind);
    CHECK(back->vocab_size() == t->vocab_size());
    CHECK(back->encode(text) == t->encode(text));
    CHECK(back->to_json() == t->to_json());
  }
}

TEST_CASE("tokenizer: damaged JSON is a CheckpointError") {
  for (const char* bad : {"", "{", "[]", "3", "{}", R"({"kind":3})", R"({"kind":"bpe"})",
                          R"({"kind":"byte","symbols":"a"})", R"({"kind":"char"})", R"({"kind":"char","symbols":""})",
                          R"({"kind":"char","symbols":"ba"})", R"({"kind":"char","symbols":"aa"})",
                          R"({"kind":"char","symbols":[97]})", R"({"kind":"char","symbols":"ab","more":1})"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(tokenizer_from_json(bad), CheckpointError);
  }
}

TEST_CASE("utf8: every border value encodes and decodes to itself") {
  for (const uint32_t c : {0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string s;
    append_utf8(s, c);
    const CodePoint back = decode_utf8(s, 0);
    CHECK(back.value == c);
    CHECK(back.length == s.size());
    CHECK(is_utf8(s));
    for (size_t at = 1; at < s.size(); ++at) CHECK(code_point_border(s, at) == 0);
  }
}
