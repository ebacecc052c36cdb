#include "report/page.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "report/embedded.h"
#include "report/escape.h"

namespace effllm {
namespace {

// MIT's condition is that these lines go where the library goes.
constexpr std::string_view kDygraphsNotice = R"(<!--
The second script is dygraphs, https://dygraphs.com/, under the MIT licence:

Copyright (c) 2006, 2009, 2011, 2012, 2013, 2017 Dan Vanderkam; (c) 2011 Paul Felix; (c) 2011, 2013 Robert Konigsberg;
(c) 2013 David Eberlein; (c) 2013 Google, Inc.; (c) 2014, 2022, 2023 mirabilos; (c) 2015 Petr Shevtsov; (c) Deutsche
Telekom LLCTO; and numerous contributors. Its module loader: (c) 2013, 2014 James Halliday; (c) 2013 Roman Shtylman;
(c) 2013 Esa-Matti Suuronen; (c) 2018 Philipp Simon Schmidt.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
-->
)";

std::string source(std::string_view text) { return fmt::format("'sha256-{}'", sha256_base64(text)); }

// Whether all cells below the header are numbers, or nothing.
bool are_numbers(const std::vector<std::vector<std::string>>& rows, size_t column) {
  bool any = false;
  for (size_t r = 1; r < rows.size(); ++r) {
    const std::string& cell = rows[r].at(column);
    if (cell.empty() || cell == "-") continue;
    any = true;
    if (std::string_view("0123456789+-<").find(cell.front()) == std::string_view::npos) return false;
  }
  return any;
}

size_t dashes_after_first(const std::vector<std::string>& row) {
  size_t n = 0;
  while (n + 1 < row.size() && row[n + 1] == "-") ++n;
  return n;
}

}  // namespace

std::string html_page(const Page& page) {
  const bool scripts = !page.data.is_null();
  const std::string policy =
      fmt::format("default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
                  source(kReportStyle), scripts ? source(kDygraphs) + " " + source(kReportScript) : "'none'");
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<main>\n{}</main>\n",
      policy, html(page.title), kReportStyle, page.body);
  if (scripts)
    out += fmt::format(
        "<script type=\"application/json\" id=\"data\">{}</script>\n{}<script>{}</script>\n"
        "<script>{}</script>\n",
        script_json(page.data), kDygraphsNotice, kDygraphs, kReportScript);
  return out + "</body>\n</html>\n";
}

std::string html_table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::string>& classes,
                       bool right) {
  std::string out = "<div class=\"wide\" tabindex=\"0\"><table>\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    const bool marked = r > 0 && r <= classes.size() && !classes[r - 1].empty();
    out += marked ? fmt::format("<tr class=\"{}\">", classes[r - 1]) : "<tr>";
    const size_t empty = marked && classes[r - 1] == "text" ? dashes_after_first(rows[r]) : 0;
    for (size_t c = 0; c < rows[r].size(); c += c == 0 ? 1 + empty : 1) {
      const std::string_view element = r == 0 || c == 0 ? "th" : "td";
      const std::string_view scope = r == 0 ? " scope=\"col\"" : c == 0 ? " scope=\"row\"" : "";
      const std::string_view number = c > 0 && (right || are_numbers(rows, c)) ? " class=\"number\"" : "";
      const std::string span = c == 0 && empty > 0 ? fmt::format(" colspan=\"{}\"", 1 + empty) : "";
      out += fmt::format("<{}{}{}{}>{}</{}>", element, scope, span, number, html(rows[r][c]), element);
    }
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

}  // namespace effllm
