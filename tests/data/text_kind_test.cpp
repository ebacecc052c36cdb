#include "data/text_kind.h"

#include <doctest/doctest.h>

#include "data/example_prompt.h"

using namespace effllm;

TEST_CASE("text kind: ASCII, UTF-8 and other bytes, their characters and the first that is wrong") {
  const TextFacts ascii = examine_text("abc\n");
  CHECK(ascii.kind == TextKind::ascii);
  CHECK(ascii.characters == 4);
  CHECK(ascii.malformed == -1);
  const TextFacts utf8 = examine_text("aé€😀");
  CHECK(utf8.kind == TextKind::utf8);
  CHECK(utf8.characters == 4);
  // "Слово" in CP866, a Latin-1 letter, a code point cut off, an overlong form, a surrogate.
  for (const auto& [text, at] : {std::pair<std::string, int64_t>{"\x91\xab\xae\xa2\xae", 0},
                                 {"caf\xe9 au lait", 3},
                                 {"é\xe2\x82", 2},
                                 {"ab\xc0\xaf", 2},
                                 {"\xed\xa0\x80", 0}}) {
    const TextFacts bytes = examine_text(text);
    CHECK(bytes.kind == TextKind::bytes);
    CHECK(bytes.characters == 0);
    CHECK(bytes.malformed == at);
  }
}

TEST_CASE("text kind: what it is is said, with the unit that results are told in") {
  CHECK(describe(examine_text("abc"), "abc") == "ASCII, 3 characters");
  CHECK(describe(examine_text("aé"), "aé") == "UTF-8, 2 characters");
  const std::string cp866 = "ab\x91\xab";
  CHECK(describe(examine_text(cp866), cp866) ==
        "not UTF-8 (the first wrong byte is 0x91 at 2): results are told in bits per byte");
  const std::string utf16 = std::string("\xff\xfe") + "a\0b\0";
  CHECK(describe(examine_text(utf16), utf16).find("UTF-16") != std::string::npos);
  CHECK(measure_of(TextKind::utf8).metric == "bpc");
  CHECK(measure_of(TextKind::ascii).unit == "bits/char");
  CHECK(measure_of(TextKind::bytes).metric == "bpb");
  CHECK(measure_of(TextKind::bytes).unit == "bits/byte");
}

TEST_CASE("text kind: a mark of byte order at the head is told, elsewhere it is text") {
  CHECK(byte_order_note("\xef\xbb\xbf"
                        "abc")
            .find("a byte order mark (U+FEFF)") != std::string::npos);
  CHECK(byte_order_note("\xff\xfe"
                        "a")
            .find("UTF-16") != std::string::npos);
  CHECK(byte_order_note("\xfe\xff").find("UTF-16") != std::string::npos);
  CHECK(byte_order_note("a\xef\xbb\xbf").empty());
  CHECK(byte_order_note("\xef\xbb").empty());
  CHECK(byte_order_note("").empty());
}

TEST_CASE("example prompt: the first words, which a shell takes as they are") {
  CHECK(example_prompt("In the beginning God created the heaven") == "In the beginning God");
  CHECK(example_prompt("  anarchism originated as a term") == "anarchism originated");
  CHECK(example_prompt("\n\nВ начале сотворил Бог небо и землю") == "В начале сотворил");
  CHECK(example_prompt("GATCACAGGTCTATCACCCTATTAACC") == "GATCACAGGTCTATCACCCT");
  CHECK(example_prompt("\"Who's there?\" said $HOME") == "Who's there?");
  CHECK(example_prompt("First\nsecond") == "First");
  CHECK(example_prompt("a\\nb") == "a");
  CHECK(example_prompt("...").empty());
  CHECK(example_prompt("").empty());
  CHECK(example_prompt("\x91\xab\xae\xa2\xae").empty());
}
