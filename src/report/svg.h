// Pictures as SVG elements. Colours and sizes of letters come from the page's style sheet by class, so that a picture
// follows the page into dark and print.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace effllm {

class Svg {
 public:
  using Points = std::vector<std::pair<double, double>>;
  // In units of its own, which the page scales to its width. `label` is what is read aloud instead.
  Svg(double width, double height, std::string_view label);
  void line(double x1, double y1, double x2, double y2, std::string_view classes);
  void path(const Points& points, std::string_view classes);  // a line through them
  void area(const Points& upper, const Points& lower, std::string_view classes);
  void dot(double x, double y, double radius, std::string_view classes);
  void text(double x, double y, std::string_view text, std::string_view classes);
  std::string str() const { return out_ + "</svg>\n"; }

 private:
  std::string out_;
};

// The classes of the series of this number: a colour of eight, and dashes where they begin anew.
std::string series_class(size_t number);

}  // namespace effllm
