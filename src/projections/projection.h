// Kinds of projections: what may stand in the place of a dense layer. The list of all.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "nn/layer.h"

namespace effllm {

class Projection {
 public:
  virtual ~Projection() = default;
  // x: [.., in] -> one [.., width] for each of ProjectionArgs::parts.
  virtual std::vector<Tensor> operator()(const Tensor& x) const = 0;
};

struct ProjectionArgs {
  const LayerArgs& layer;
  int64_t in;
  // What reads one input: a name, which one that is alone does without, and a width.
  struct Part {
    std::string_view name;
    int64_t width;
  };
  std::vector<Part> parts;
  Init init;  // of a dense layer that stands here
  Role role = Role::hidden;
  bool bias = false;
};

struct ProjectionFacts {
  std::string_view name, title, paper, source, deviations = "";
};

using ProjectionInfo = Entry<Projection, ProjectionFacts, const ProjectionArgs&, const Scope&>;

extern const List<ProjectionInfo> all_projections;
// What stands where nothing is said.
inline constexpr std::string_view kDefaultProjection = "linear";

}  // namespace effllm
