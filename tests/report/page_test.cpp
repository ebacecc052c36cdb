// Pages as files: nothing in them can become markup, and their policy names what may run.
#include "report/page.h"

#include <doctest/doctest.h>

#include "base/hash.h"
#include "report/embedded.h"
#include "report/escape.h"
#include "support/messages.h"

using namespace effllm;

TEST_CASE("report: text can't become markup, nor turn the direction of a line") {
  CHECK(html("<script>alert('a & \"b\"')</script>") ==
        "&lt;script&gt;alert(&#39;a &amp; &quot;b&quot;&#39;)&lt;/script&gt;");
  CHECK(html("größe €😀") == "größe €😀");
  CHECK(html("a\x1b[31m\xff") == "a\\x1b[31m\\xff");
  CHECK(html("a\u202eb\u2067c\u200fd\u2014e") == "a&lt;U+202E&gt;b&lt;U+2067&gt;c&lt;U+200F&gt;d\u2014e");
  const nlohmann::json j = {{"</script><!--", "a & b > c\u2028\xff"}};
  const std::string text = script_json(j);
  CHECK(text.find_first_of("<>&") == text.npos);
  CHECK(nlohmann::json::parse(text)["</script><!--"] == "a & b > c\u2028\ufffd");
}

TEST_CASE("report: SHA-256 in base64 is that of the policy's standard") {
  CHECK(sha256_base64("") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
  CHECK(sha256_base64("alert('Hello, world.');") == "qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
}

TEST_CASE("report: a page lets run what stands in it and loads nothing") {
  const std::string page = html_page({.title = "a < b", .body = "<p>body</p>\n", .data = {{"x", "</script>"}}});
  CHECK(has(page, "<title>a &lt; b</title>"));
  CHECK(has(page, "default-src 'none'; style-src 'sha256-"));
  CHECK_FALSE(has(page, "unsafe"));
  // Every script and style element has the hash that the policy names, and no other can run.
  const std::string policy = page.substr(page.find("Content-Security-Policy"), 600);
  int elements = 0;
  for (const std::string name : {"script", "style"})
    for (size_t at = page.find("<" + name + ">"); at != page.npos; at = page.find("<" + name + ">", at), ++elements) {
      at += name.size() + 2;
      const std::string inside = page.substr(at, page.find("</" + name + ">", at) - at);
      CHECK(has(policy, "'sha256-" + sha256_base64(inside) + "'"));
    }
  CHECK(elements == 3);
  const std::string before = page.substr(0, page.find("<script"));
  for (const std::string part : {" style=", "onload", "onclick", "url(", "@import", "<link", "<img", "http:", "https:"})
    CHECK_FALSE_MESSAGE(has(before, part), part);
  CHECK(has(page, "Permission is hereby granted"));
  const std::string silent = html_page({.title = "t", .body = "", .data = {}});
  CHECK_FALSE(has(silent, "<script"));
  CHECK(has(silent, "script-src 'none'"));
}

TEST_CASE("report: what the program carries are the files of the source and of the library") {
  CHECK(has(kDygraphs, "dygraphs"));
  CHECK(kDygraphs.size() > 100'000);
  CHECK_FALSE(has(kDygraphs, "sourceMappingURL"));
  CHECK(has(kReportScript, "JSON.parse"));
  CHECK(has(kReportStyle, "prefers-color-scheme: dark"));
  CHECK(has(kReportStyle, "@media print"));
}

TEST_CASE("report: tables are text in cells, numbers on the right") {
  const std::string t = html_table({{"name", "n", "s"}, {"<b>", "-1.5", "2"}, {"c", "-", "x"}}, {"arm c0"});
  CHECK(has(t, "<tr class=\"arm c0\"><th scope=\"row\">&lt;b&gt;</th><td class=\"number\">-1.5</td><td>2</td></tr>"));
  CHECK(has(html_table({{"a", "b", "c", "d"}, {"gzip", "-", "-", "2"}}, {"text"}),
            "<th scope=\"row\" colspan=\"3\">gzip</th><td class=\"number\">2</td></tr>"));
  CHECK(has(t, "<th scope=\"col\" class=\"number\">n</th>"));
  CHECK(has(t, "<tr><th scope=\"row\">c</th><td class=\"number\">-</td><td>x</td></tr>"));
}
