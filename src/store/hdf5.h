// metrics.h5: results as HDF5, for Python and other readers. The file is a view that is built in memory and replaced
// whole, because a file that HDF5 itself appends to does not survive a kill or a full disk. Any thread may call.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace effllm {

// One metric over the steps of its group; a missing value is NaN.
struct H5Series {
  std::string name;
  std::string units;
  std::string long_name;
  std::vector<double> values;
};

// Becomes /<name>/step, a dimension scale, and one dataset of that length per series.
struct H5Group {
  std::string name;
  std::vector<int64_t> step;
  std::vector<H5Series> series;
};

struct H5Document {
  struct Event {
    int64_t step = 0;
    double wall_s = 0;  // seconds of training, NaN where not known
    std::string level;  // "info", "warning", "error"
    std::string text;   // the file keeps its first 1024 bytes
  };
  std::vector<std::pair<std::string, std::string>> string_attributes;  // of the root
  std::vector<std::pair<std::string, int64_t>> int_attributes;
  std::vector<std::pair<std::string, std::string>> texts;  // scalar datasets in ASCII, such as config_yaml
  std::vector<H5Group> groups;
  std::vector<Event> events;  // the compound dataset /events
};

// Replaces the file at `path`. IoError where HDF5 or the disk refuses (a name used twice, a full disk), and for a text
// that is not ASCII; the old file is then still there. ShapeError for a series as long as its steps are not. Names may
// not be empty or contain '/'.
void write_hdf5(const std::filesystem::path& path, const H5Document& document);

}  // namespace effllm
