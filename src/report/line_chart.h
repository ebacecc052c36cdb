// Curves with bands, as a picture.
#pragma once
#include <string>
#include <vector>

namespace effllm {

// A curve through the means, inside a band; all of one length, in the order of x.
struct BandCurve {
  std::string name;
  size_t colour = 0;  // series_class()
  std::vector<double> x, low, mean, high;
};

// `label` is read aloud. The x axis is logarithmic where all x are positive and the largest is more than 8 times the
// least. Points that are not finite are gaps; one between gaps is a dot, with a line where its band is. Without a point
// that can be drawn the picture says so. Where means of a curve are above `most` and not all of all curves are, an
// arrow at the upper edge stands for each row of such points.
std::string line_chart(const std::vector<BandCurve>& curves, const std::string& label, const std::string& x_label,
                       const std::string& y_label, double most);

}  // namespace effllm
