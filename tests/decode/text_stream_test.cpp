#include <doctest/doctest.h>

#include "decode/generator.h"

using namespace effllm;

namespace {

// Feeds `text` byte by byte, pieces separated by |, the rest of finish() after #.
std::string trace(const std::string& text, const std::vector<std::string>& stop) {
  TextStream stream(stop);
  std::string out;
  for (char c : text) out += stream.push(std::string_view(&c, 1)) + "|";
  return out + "#" + stream.finish();
}

std::string joined(const std::string& text, const std::vector<std::string>& stop) {
  std::string out;
  for (char c : trace(text, stop))
    if (c != '|' && c != '#') out += c;
  return out;
}

}  // namespace

TEST_CASE("text stream: without stop strings ASCII passes at once") { CHECK(trace("abc", {}) == "a|b|c|#"); }

TEST_CASE("text stream: what may become a stop string waits, and comes when it doesn't") {
  CHECK(trace("aENDb", {"END"}) == "a|||||#");
  CHECK(trace("aENxb", {"END"}) == "a|||ENx|b|#");
  CHECK(trace("aEN", {"END"}) == "a|||#EN");
  CHECK(trace("EEND", {"END"}) == "|E|||#");  // the second E starts anew
  CHECK(trace("ababac", {"abac"}) == "|||ab|||#");
  CHECK(trace("x\n\ny", {"\n\n"}) == "x||||#");
}

TEST_CASE("text stream: of several stop strings the first to be complete ends the text") {
  CHECK(joined("one two three", {"three", "two"}) == "one ");
  CHECK(joined("abc", {"abcd", "b"}) == "a");
  TextStream whole({"cd", "bc"});  // both arrive in one token: the one that starts first counts
  CHECK(whole.push("abcd") == "a");
  CHECK(whole.stopped());
  CHECK(whole.push("more") == "");
  CHECK(whole.finish() == "");
}

TEST_CASE("text stream: UTF-8 sequences come out whole") {
  CHECK(trace("é", {}) == "|é|#");
  CHECK(trace("a€b", {}) == "a|||€|b|#");
  CHECK(trace("😀", {}) == "|||😀|#");
}

TEST_CASE("text stream: bytes that are no UTF-8 pass, an unfinished sequence comes at the end") {
  CHECK(trace("\x80\xFFz", {}) == "\x80|\xFF|z|#");
  CHECK(trace("\xE2z", {}) == "|\xE2z|#");
  CHECK(trace("a\xE2\x82", {}) == "a|||#\xE2\x82");
  CHECK(trace("\xC3", {}) == "|#\xC3");
  CHECK(trace("\xC0\xF8", {}) == "\xC0|\xF8|#");  // never lead bytes
}

TEST_CASE("text stream: stop strings and UTF-8 hold back together") {
  CHECK(trace("aé!", {"é!"}) == "a||||#");
  CHECK(trace("aé?", {"é!"}) == "a|||é?|#");
  CHECK(trace("aè", {"é"}) == "a||è|#");  // the first byte is that of the stop string
  for (const std::string text : {"a€b😀c€", "\xE2\x82\xE2\x82\xAC", "€€\xF0\x9F\x98"})
    CHECK(joined(text, {"€€€", "zz"}) == text);
}
