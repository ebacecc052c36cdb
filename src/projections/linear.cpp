// The dense layer; those that read one input are one matrix.
#include "nn/linear.h"
#include "ops/columns.h"
#include "projections/projection.h"

namespace effllm::projections {
namespace {

class LinearProjection final : public Projection {
 public:
  LinearProjection(const ProjectionArgs& args, const Scope& s)
      : widths_(widths(args)), linear_(s, args.in, widths_, args.init, args.role, args.bias) {}
  std::vector<Tensor> operator()(const Tensor& x) const override {
    if (widths_.size() == 1) return {linear_(x)};
    return split_columns(linear_(x), widths_);
  }

 private:
  static std::vector<int64_t> widths(const ProjectionArgs& args) {
    std::vector<int64_t> all;
    for (const ProjectionArgs::Part& p : args.parts) all.push_back(p.width);
    return all;
  }
  std::vector<int64_t> widths_;
  Linear linear_;
};

}  // namespace

extern constinit const ProjectionInfo linear = ProjectionInfo::of<LinearProjection>({
    .name = "linear",
    .title = "Dense layer",
    .paper = "none: a matrix",
    .source = "none: that of the mixer",
});

}  // namespace effllm::projections
