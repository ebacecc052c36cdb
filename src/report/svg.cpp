#include "report/svg.h"

#include <fmt/format.h>

#include "report/escape.h"

namespace effllm {
namespace {

std::string through(const Svg::Points& points) {
  std::string d;
  for (const auto& [x, y] : points) d += fmt::format("{}{:.2f} {:.2f}", d.empty() ? "M" : "L", x, y);
  return d;
}

}  // namespace

Svg::Svg(double width, double height, std::string_view label)
    : out_(fmt::format("<svg viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"{}\">\n", width, height,
                       html(label))) {}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view classes) {
  out_ += fmt::format("<line x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" class=\"{}\"/>\n", x1, y1, x2, y2,
                      classes);
}

void Svg::path(const Points& points, std::string_view classes) {
  out_ += fmt::format("<path d=\"{}\" class=\"{}\"/>\n", through(points), classes);
}

void Svg::area(const Points& upper, const Points& lower, std::string_view classes) {
  Points all = upper;
  all.insert(all.end(), lower.rbegin(), lower.rend());
  out_ += fmt::format("<path d=\"{}Z\" class=\"{}\"/>\n", through(all), classes);
}

void Svg::dot(double x, double y, double radius, std::string_view classes) {
  out_ += fmt::format("<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"{:g}\" class=\"{}\"/>\n", x, y, radius, classes);
}

void Svg::text(double x, double y, std::string_view text, std::string_view classes) {
  out_ += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" class=\"{}\">{}</text>\n", x, y, classes, html(text));
}

std::string series_class(size_t number) {
  return fmt::format("c{}{}", number % 8, number / 8 % 2 == 1 ? " dashed" : "");
}

}  // namespace effllm
