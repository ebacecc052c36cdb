#include "base/plot.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "base/error.h"

using namespace effllm;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string l; std::getline(in, l);) lines.push_back(l);
  return lines;
}

size_t count(const std::string& text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

// Columns on a terminal: everything but continuation bytes.
int64_t columns(const std::string& line) {
  int64_t n = 0;
  for (char c : line) n += (c & 0xC0) != 0x80;
  return n;
}

std::string plot(const PlotSeries& s, const PlotOptions& o) { return line_plot({&s, 1}, o); }

const double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("plot: a diagonal in ASCII is drawn where it belongs, to the character") {
  const std::string text = plot({"", {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}}, {.width = 24, .height = 5, .ascii = true});
  CHECK(text ==
        " 4+                  ***\n"
        "  |             *****\n"
        " 2+        *****\n"
        "  |   *****\n"
        " 0+***\n"
        "  ++---------+---------+\n"
        "   0         2         4\n");
}

TEST_CASE("plot: braille sets the dots of the line and blanks are U+2800") {
  // Two points, at the bottom left and top right corner: bits 0x40 of the first cell and 0x08 of the last.
  const std::string text = plot({"", {0, kNan, 1}, {0, 0, 1}}, {.width = 30, .height = 4});
  const auto lines = lines_of(text);
  REQUIRE(lines.size() == 6);
  CHECK(count(text, "\u2840") == 1);
  CHECK(count(text, "\u2808") == 1);
  CHECK(lines[0].ends_with("\u2808"));
  CHECK(lines[3].find("┤\u2840") != std::string::npos);
  CHECK(count(text, "\u2800") == 4 * (columns(lines[0]) - columns(lines[0].substr(0, lines[0].find("┤")))) - 4 - 2);
  for (int l = 0; l < 4; ++l) CHECK(columns(lines[static_cast<size_t>(l)]) == 30);
}

TEST_CASE("plot: values that are not finite are gaps, and a gap joins nothing") {
  const PlotOptions o{.width = 40, .height = 8, .ascii = true};
  const std::string whole = plot({"", {0, 1, 2}, {1, 1, 1}}, o);
  CHECK(count(whole, "*") > 30);
  for (const double gap : {kNan, kInf, -kInf, 1e301}) CHECK(count(plot({"", {0, 1, 2}, {1, gap, 1}}, o), "*") == 2);
  CHECK(count(plot({"", {0, kNan, 2}, {1, 1, 1}}, o), "*") == 2);
}

TEST_CASE("plot: a logarithmic axis has powers of ten, straightens exponentials, leaves out what has no logarithm") {
  PlotSeries s{"", {}, {}};
  for (int i = 0; i <= 6; ++i) s.x.push_back(i), s.y.push_back(std::pow(10, -i));
  const std::string text = plot(s, {.width = 48, .height = 13, .log_y = true, .ascii = true});
  CHECK(text.find("0.01+") != std::string::npos);
  CHECK(text.find("0.0001+") != std::string::npos);
  CHECK(text.find("1e-06+") != std::string::npos);
  std::vector<size_t> starts;  // of the line in each row: a straight line moves by the same amount
  const auto lines = lines_of(text);
  for (int l = 0; l < 13; ++l) starts.push_back(lines[static_cast<size_t>(l)].find('*'));
  for (size_t l = 2; l < starts.size(); ++l) {
    CHECK(starts[l] - starts[l - 1] >= 2);
    CHECK(starts[l] - starts[l - 1] <= 4);
  }
  s.y[3] = 0, s.y[4] = -5;
  const std::string gaps = plot(s, {.width = 48, .height = 13, .log_y = true, .ascii = true});
  CHECK(count(gaps, "*") < count(text, "*"));
  CHECK(gaps.find("-5") == std::string::npos);
}

TEST_CASE("plot: one point, constants and nothing at all are drawn without fuss") {
  const std::string one = plot({"p", {3}, {2.5}}, {.width = 40, .height = 7, .ascii = true});
  CHECK(count(one, "*") == 2);
  CHECK(one.find("2.6+") < one.find('*'));
  CHECK(one.find("2.4+") > one.find('*'));
  for (const bool log_y : {false, true})
    for (const double v : {1e-305, 1e-200, 1e299, 7.0})
      CHECK((plot({"", {1, 2}, {v, v}}, {.log_y = log_y}).find("nothing") != std::string::npos) ==
            (v < 1e-300 && log_y));
  CHECK(plot({"", {1, 2}, {0, 0}}, {}).find("nothing") == std::string::npos);
  CHECK(plot({"", {1e16, 1e16 + 2}, {1, 2}}, {}).size() > 0);
  CHECK(plot({"", {-1e299, 1e299}, {-1e299, 1e299}}, {}).find("nothing") == std::string::npos);
  CHECK(line_plot({}, {}).find("(nothing to draw)") != std::string::npos);
  CHECK(plot({"empty", {}, {}}, {}).find("empty (nothing to draw)") != std::string::npos);
  CHECK(plot({"", {1, 2}, {0, -1}}, {.log_y = true}).find("(nothing to draw)") != std::string::npos);
  CHECK_THROWS_AS(plot({"", {1, 2}, {1}}, {}), ShapeError);
}

TEST_CASE("plot: an empty series beside another is named in the legend, and the other is drawn") {
  const std::vector<PlotSeries> s = {{"one", {0, 1}, {0, 1}}, {"two", {}, {}}};
  const std::string text = line_plot(s, {.ascii = true});
  CHECK(text.find("  *  one\n") != std::string::npos);
  CHECK(text.find("  +  two (nothing to draw)\n") != std::string::npos);
}

TEST_CASE("plot: several series have characters in ASCII and letters at their ends in braille") {
  const std::vector<PlotSeries> s = {{"up", {0, 1}, {0, 1}}, {"down", {0, 1}, {1, 0}}, {"same end", {0, 1}, {0, 1}}};
  const std::string ascii = line_plot(s, {.width = 40, .height = 9, .ascii = true});
  CHECK(count(ascii, "o") >= 9);
  CHECK(ascii.find("  +  down") != std::string::npos);
  const auto braille = lines_of(line_plot(s, {.width = 40, .height = 9}));
  CHECK(count(braille[0], "a") == 1);
  CHECK(count(braille[0], "c") == 1);  // beside a, not over it
  CHECK(count(braille[8], "b") == 1);
  CHECK(braille[11] == "  a  up");
  for (size_t l = 0; l < 9; ++l) CHECK(columns(braille[l]) == 40);
}

TEST_CASE("plot: colours are codes around what is there without them") {
  const std::vector<PlotSeries> s = {{"up", {0, 1}, {0, 1}}, {"down", {0, 1}, {1, 0}}};
  for (const bool ascii : {false, true}) {
    PlotOptions o{.width = 40, .height = 9, .ascii = ascii};
    const std::string plain = line_plot(s, o);
    CHECK(plain.find('\x1b') == std::string::npos);
    o.colour = true;
    const std::string coloured = line_plot(s, o);
    std::string bare;  // without the codes
    for (size_t i = 0; i < coloured.size(); ++i)
      if (coloured[i] == '\x1b')
        i = coloured.find('m', i);
      else
        bare += coloured[i];
    CHECK(bare == plain);
    CHECK(count(coloured, "\x1b[36m") >= 9);
    CHECK(count(coloured, "\x1b[33m") >= 9);
    for (const auto& line : lines_of(coloured))  // no colour runs on into what follows
      if (line.find('\x1b') != std::string::npos) CHECK(line.rfind("\x1b[0m") > line.rfind("\x1b[3"));
    CHECK(coloured.find(ascii ? "\x1b[36m*  up\x1b[0m" : "\x1b[36ma  up\x1b[0m") != std::string::npos);
  }
  std::vector<PlotSeries> many(7, s[0]);
  const std::string seven = line_plot(many, {.colour = true});
  CHECK(seven.find("\x1b[31m") != std::string::npos);
  CHECK(seven.find("\x1b[36mg") != std::string::npos);  // the seventh begins again
}

TEST_CASE("plot: an x axis can be given, and never hides a point") {
  const PlotSeries s{"", {40, 60}, {1, 2}};
  const PlotOptions o{.width = 60, .height = 5, .ascii = true, .x_range = std::pair(0.0, 100.0)};
  const auto lines = lines_of(plot(s, o));
  CHECK(lines[6].find(" 0 ") != std::string::npos);
  CHECK(lines[6].ends_with("100"));
  CHECK(count(plot(s, {.width = 60, .height = 5, .ascii = true, .x_range = std::pair(45.0, 50.0)}), "*") ==
        count(plot(s, {.width = 60, .height = 5, .ascii = true}), "*"));
  CHECK(plot({"", {}, {}}, o).find("nothing to draw") != std::string::npos);
}

TEST_CASE("plot: no line is wider than asked, and names can't smuggle control codes") {
  const PlotSeries s{"evil\x1b[31m", {0, 123456}, {-123456.5, 1e6}};
  for (const bool ascii : {false, true})
    for (const int width : {24, 31, 80, 200}) {
      const std::string text = plot(s, {.width = width, .ascii = ascii, .title = "t\x1b"});
      for (const auto& l : lines_of(text)) CHECK(columns(l) <= width);
      CHECK(text.find('\x1b') == std::string::npos);
      CHECK(text.find("evil\\x1b[31m") != std::string::npos);
    }
  CHECK(lines_of(plot(s, {.width = -5, .height = 0})).size() == 3 + 2 + 1);
}

TEST_CASE("plot: labels and titles stand in their places") {
  const PlotOptions o{.width = 60, .height = 6, .log_y = true, .title = "T", .x_label = "steps", .y_label = "loss"};
  const auto lines = lines_of(plot({"", {0, 50000}, {1, 8}}, o));
  REQUIRE(lines.size() == 11);
  CHECK(lines[0] == "T");
  CHECK(lines[1] == "loss, logarithmic");
  CHECK(lines[9].find("20k") != std::string::npos);
  CHECK(lines[9].find("40k") != std::string::npos);
  CHECK(lines[10].find("steps") > 20);
}

TEST_CASE("plot: ticks are round numbers inside the interval") {
  CHECK(axis_ticks(0, 10, 5, false) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(axis_ticks(-1, 1, 4, false) == std::vector<double>{-1, -0.5, 0, 0.5, 1});
  CHECK(axis_ticks(1, 1000, 4, true) == std::vector<double>{1, 10, 100, 1000});
  CHECK(axis_ticks(1, 10, 4, true) == std::vector<double>{1, 2, 5, 10});
  CHECK(axis_ticks(3.1, 3.4, 3, true).size() >= 3);
  for (const double low : {-7e5, 0.0, 1e-9, 0.123})
    for (const double size : {1e-6, 1.0, 7e8})
      for (const int n : {2, 5, 9}) {
        const auto ticks = axis_ticks(low, low + size, n, false);
        CAPTURE(low);
        CAPTURE(size);
        CHECK(ticks.size() >= static_cast<size_t>(n) / 2);
        CHECK(ticks.size() <= static_cast<size_t>(n) + 1);
        for (double t : ticks) {
          CHECK(t >= low - 1e-6 * size);
          CHECK(t <= low + size + 1e-6 * size);
        }
      }
}
