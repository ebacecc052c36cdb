#include "base/escapes.h"

#include <doctest/doctest.h>

using namespace effllm;

TEST_CASE("escapes: what a command line can't hold is understood, other backslashes stay") {
  CHECK(unescape("a\\nb\\tc\\rd\\\\n") == "a\nb\tc\rd\\n");
  CHECK(unescape("\\section{x} \\") == "\\section{x} \\");
  CHECK(unescape("\\\\\\n") == "\\\n");
  CHECK(unescape("").empty());
}

TEST_CASE("escapes: escaped text is one printable line, and the same text again") {
  for (const std::string text : {"a\nb\tc\rd\\n", "\\", "\n", "grün \\n\n", ""}) {
    CHECK(escape(text).find_first_of("\n\t\r") == std::string::npos);
    CHECK(unescape(escape(text)) == text);
  }
  CHECK(escape("\x1b[\xff") == "\\x1b[\\xff");
}

TEST_CASE("escapes: base64 of any bytes, as RFC 4648 has it") {
  for (const auto& [bytes, encoded] : {std::pair<std::string, std::string>{"", ""},
                                       {"f", "Zg=="},
                                       {"fo", "Zm8="},
                                       {"foo", "Zm9v"},
                                       {"foobar", "Zm9vYmFy"},
                                       {std::string("\0\xff\xfe\x80", 4), "AP/+gA=="}})
    CHECK(base64(bytes) == encoded);
}

TEST_CASE("escapes: a path is its own text where that is UTF-8, otherwise a URL of its bytes") {
  CHECK(path_text("/a/grün b") == "/a/grün b");
  CHECK(path_text("/a b%/\xff\xfe.yaml") == "file:///a%20b%25/%FF%FE.yaml");
  CHECK(path_text("/\x1b") == "file:///%1B");
  for (const std::string path : {"/a/grün b", "/a b%/\xff\xfe.yaml", "/a\n", "r/\xe9%FF%", ""})
    CHECK(path_of_text(path_text(path)).native() == path);
  CHECK(path_of_text("file:///a%").native() == "/a%");
  CHECK(path_of_text("file:///a%4").native() == "/a%4");
}
