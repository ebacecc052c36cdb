#include "checkpoint/moments.h"

#include <fmt/format.h>

namespace effllm {
namespace {

// A mean of squares.
void require_not_negative(const NamedTensor& moment, const std::string& path) {
  dispatch_float(moment.value.dtype(), [&]<class T>() {
    const auto v = moment.value.view<T>();
    for (int64_t r = 0; r < v.rows; ++r)
      for (int64_t c = 0; c < v.cols; ++c)
        if (v.row(r)[c] < 0)
          throw CheckpointError("{}: `{}` holds {} at row {}, column {}: a mean of squares can't be negative", path,
                                moment.name, static_cast<double>(v.row(r)[c]), r, c);
  });
}

}  // namespace

std::vector<NamedTensor> moments(const Optimizer& optimizer) {
  std::vector<NamedTensor> all;
  optimizer.visit([&](std::string_view slot, const Parameter& p, const Tensor& value) {
    all.push_back({fmt::format("opt.{}.{}", slot, p.name), value});
  });
  return all;
}

void load_moments(const SafetensorsFile& file, const std::string& path, const Optimizer& optimizer) {
  for (const NamedTensor& m : moments(optimizer)) {
    if (!load_tensor(file, path, m.name, m.value)) throw CheckpointError("{}: lacks `{}`", path, m.name);
    if (m.name.starts_with("opt.v.")) require_not_negative(m, path);
  }
}

}  // namespace effllm
