#include "base/text.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <sstream>

using namespace effllm;

TEST_CASE("text: the nearest word is suggested, a far one never") {
  const std::vector<std::string> words = {"attention", "gla", "min_gru", "rms_norm"};
  CHECK(did_you_mean("atention", words) == " Did you mean `attention`?");
  CHECK(did_you_mean("attentoin", words) == " Did you mean `attention`?");
  CHECK(did_you_mean("gal", words) == " Did you mean `gla`?");  // a swap of neighbours is one edit
  CHECK(did_you_mean("gab", words).empty());                    // a short word may differ by one edit
  CHECK(did_you_mean("gl", words) == " Did you mean `gla`?");
  CHECK(did_you_mean("mingru", words) == " Did you mean `min_gru`?");
  CHECK(did_you_mean("minimal", words).empty());
  CHECK(did_you_mean("", words).empty());
  CHECK(did_you_mean("gla", std::span<const std::string>()).empty());
  constexpr std::string_view kViews[] = {"adamw", "adam"};
  CHECK(did_you_mean("adamv", kViews) == " Did you mean `adamw`?");  // the first of two equally near ones
}

TEST_CASE("text: table columns take their widest cell, numbers stand on the right") {
  CHECK(table({{"name", "count"}, {"a", "7"}, {"longer", "1234"}}, 0) ==
        "name    count\n"
        "a           7\n"
        "longer   1234\n");
  CHECK(table({{"n", "x"}, {"-12", "b"}, {"3", "c"}}, 0) ==
        "  n  x\n"
        "-12  b\n"
        "  3  c\n");
  CHECK(table({{"flag", "help"}, {"--set", "one"}, {"-v", "two"}}, 0) ==
        "flag   help\n"
        "--set  one\n"
        "-v     two\n");  // a dash alone makes no number
}

TEST_CASE("text: points and units of a column stand below each other") {
  CHECK(table({{"what", "count", "bytes"}, {"a", "12.3 K", "512 KiB"}, {"b", "4.56 M", "1.25 MiB"}, {"c", "7", "-"}},
              0) ==
        "what    count       bytes\n"
        "a     12.3  K  512    KiB\n"
        "b      4.56 M    1.25 MiB\n"
        "c      7                -\n");
  // A column of numbers and words is one of words.
  CHECK(table({{"k", "v"}, {"a", "12"}, {"b", "rope"}}, 0) == "k  v\na  12\nb  rope\n");
}

TEST_CASE("text: durations are no decimals: they end below each other, as they are written") {
  CHECK(table({{"run", "time"}, {"a", "1 min 14 s"}, {"b", "0.2 s"}, {"c", "12 h 05 min"}, {"d", "-"}, {"e", "42 s"}},
              0) ==
        "run         time\n"
        "a     1 min 14 s\n"
        "b          0.2 s\n"
        "c    12 h 05 min\n"
        "d              -\n"
        "e           42 s\n");
  // Words of a unit of time are not broken where the table is too wide.
  CHECK(table({{"time", "what"}, {"1 min 14 s", "several words that go on"}}, 28).find("1 min 14 s  several") !=
        std::string::npos);
}

TEST_CASE("text: a table that is too wide goes on in the next line, numbers and words whole") {
  const std::vector<std::vector<std::string>> rows = {
      {"option", "prefill FLOPs/token", "meaning"},
      {"window", "12.3 K", "Tokens that are seen, the own one included; 0: all of them."},
      {"x", "1.00 M", "short"}};
  for (size_t most : {40, 50, 60, 80}) {
    CAPTURE(most);
    const std::string text = table(rows, most);
    std::istringstream lines(text);
    size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count) CHECK(line.size() <= most);
    CHECK(count > 3);
    for (const char* word : {"12.3  K", "1.00 M", "included;", "FLOPs/token", "option"})
      CHECK(text.find(word) != text.npos);
  }
  CHECK(table(rows, 200) == table(rows, 0));
  CHECK(wrapped("one two  three", 7) == std::vector<std::string>{"one two", " three"});
  CHECK(wrapped("", 7) == std::vector<std::string>{""});
  CHECK(wrapped("a-word-that-is-long b", 5) == std::vector<std::string>{"a-wor", "d-tha", "t-is-", "long", "b"});
}

TEST_CASE("text: table counts characters, not bytes, and takes ragged rows") {
  CHECK(table({{"a", "b"}, {"\xC3\xA9t\xC3\xA9", "x"}, {"four", "y"}}, 0) ==
        "a     b\n"
        "\xC3\xA9t\xC3\xA9   x\n"
        "four  y\n");
  CHECK(table({{"a"}, {"b", "c"}, {}}, 0) == "a\nb  c\n\n");
  CHECK(table({}, 0).empty());
}

TEST_CASE("text: a Markdown table has its rule and no stray bars") {
  CHECK(markdown_table({{"a", "b"}, {"x|y", "2"}}) == "| a | b |\n|---|--:|\n| x\\|y | 2 |\n");
}

TEST_CASE("text: counts keep three digits and change unit before they round to 1000") {
  CHECK(human_count(0) == "0");
  CHECK(human_count(999) == "999");
  CHECK(human_count(999.7) == "1.00 K");
  CHECK(human_count(1000) == "1.00 K");
  CHECK(human_count(12345) == "12.3 K");
  CHECK(human_count(9996) == "10.0 K");
  CHECK(human_count(99960) == "100 K");
  CHECK(human_count(999499) == "999 K");
  CHECK(human_count(999500) == "1.00 M");
  CHECK(human_count(999999) == "1.00 M");
  CHECK(human_count(-4.56e6) == "-4.56 M");
  CHECK(human_count(999.9e6) == "1.00 G");
  CHECK(human_count(2.5e12) == "2.50 T");
  CHECK(human_count(4e16) == "40.0 P");
  for (double n = 1; n < 1e18; n *= 1.01) {  // never an exponent, never four digits
    const std::string s = human_count(n);
    CAPTURE(s);
    CHECK(s.find('e') == s.npos);
    CHECK(std::ranges::count_if(s, [](char c) { return c >= '0' && c <= '9'; }) <= 3);
  }
}

TEST_CASE("text: a number of things has the word for one only where it is one") {
  CHECK(counted(0, "token") == "0 tokens");
  CHECK(counted(1, "token") == "1 token");
  CHECK(counted(2, "token") == "2 tokens");
  CHECK(counted(1234567, "step") == "1234567 steps");
  CHECK(human_counted(1, "parameter") == "1 parameter");
  CHECK(human_counted(999, "parameter") == "999 parameters");
  CHECK(human_counted(1000, "parameter") == "1.00 K parameters");
}

TEST_CASE("text: bytes go by powers of 1024") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1024) == "1.00 KiB");
  CHECK(human_bytes(512 * 1024) == "512 KiB");
  CHECK(human_bytes(1023.9 * 1024) == "1.00 MiB");
  CHECK(human_bytes(21.3 * 1024) == "21.3 KiB");
  CHECK(human_bytes(8 << 20) == "8.00 MiB");
  CHECK(human_bytes(1.5 * (1 << 30)) == "1.50 GiB");
  CHECK(human_bytes(std::ldexp(1.0, 50)) == "1.00 PiB");
}

TEST_CASE("text: percents have one decimal, fractions their parts") {
  CHECK(human_percent(0.3125) == "31.2 %");
  CHECK(human_percent(0.00549) == "0.5 %");
  CHECK(human_percent(1.02) == "102.0 %");
  CHECK(human_percent(0.0001) == "<0.1 %");
  CHECK(human_percent(0) == "0.0 %");
  CHECK(readable(8.0 / 3) == "8/3");
  CHECK(readable(-1.0 / 3) == "-1/3");
  CHECK(readable(0.1) == "0.1");
  CHECK(readable(0.9999999) == "0.9999999");
  CHECK(readable(1048576) == "1048576");
  CHECK(readable(10000) == "10000");
  CHECK(readable(1 << 30) == "1073741824");
  CHECK(readable(0.12345678901234) == "0.12345678901234");
}

TEST_CASE("text: durations name at most two units") {
  CHECK(human_seconds(0.25) == "0.2 s");
  CHECK(human_seconds(42) == "42 s");
  CHECK(human_seconds(59.6) == "1 min 00 s");
  CHECK(human_seconds(185) == "3 min 05 s");
  CHECK(human_seconds(7800) == "2 h 10 min");
  CHECK(human_seconds(-1) == "?");
  CHECK(human_seconds(std::nan("")) == "?");
  CHECK(human_seconds(std::numeric_limits<double>::infinity()) == "?");
}

TEST_CASE("text: the shortest text of a number reads back as the same number") {
  for (double v : {0.1, 1.0 / 3, 1e-300, 6.02214076e23, -0.0, 5e-324}) {
    const std::string s = shortest(v);
    CAPTURE(s);
    const double back = std::strtod(s.c_str(), nullptr);
    CHECK(back == v);
    CHECK(std::signbit(back) == std::signbit(v));
  }
  CHECK(shortest(0.1) == "0.1");
  CHECK(shortest(std::nan("")) == "nan");
  CHECK(shortest(-std::numeric_limits<double>::infinity()) == "-inf");
  const std::vector<std::string> parts = {"a", "b", "c"};
  CHECK(join(parts, ", ") == "a, b, c");
  CHECK(join({}, ", ").empty());
}

TEST_CASE("text: printable lets text pass and shows what a terminal would obey") {
  CHECK(printable("plain\ttext\n") == "plain\ttext\n");
  CHECK(printable("\x1b[31m") == "\\x1b[31m");
  CHECK(printable(std::string_view("a\0b\x7F\r", 5)) == "a\\x00b\\x7f\\x0d");
  const std::string good = "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80";  // 2, 3 and 4 bytes
  CHECK(printable(good) == good);
}

TEST_CASE("text: printable escapes every byte that is no UTF-8") {
  CHECK(printable("\xFF") == "\\xff");
  CHECK(printable("\xE2\x82") == "\\xe2\\x82");                    // cut short at the end
  CHECK(printable("\xC3(") == "\\xc3(");                           // no continuation
  CHECK(printable("\xC0\xAF") == "\\xc0\\xaf");                    // overlong
  CHECK(printable("\xE0\x80\xAF") == "\\xe0\\x80\\xaf");           // overlong
  CHECK(printable("\xED\xA0\x80") == "\\xed\\xa0\\x80");           // a surrogate
  CHECK(printable("\xF4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  CHECK(printable("\xC2\x9B"
                  "1m") == "\\xc2\\x9b1m");  // a C1 control, CSI of some terminals
  CHECK(printable("\xC2\xA0") == "\xC2\xA0");
}
