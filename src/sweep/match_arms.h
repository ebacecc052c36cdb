// Arms of a study that are made alike in size, by what its `match` says.
#pragma once
#include <string>
#include <vector>

#include "sweep/study.h"

namespace effllm {

class TimedSizes;

// Gives each arm, but the one that the others are to be like, the value of match.key that comes nearest: in its
// overrides, and in its tree, that of the base with what the arm sets. Of each arm what was found, "model.d_model 136:
// 0.4 % more than 800000 params"; empty texts where nothing was. Sizes by measured time are those of `sizes`, without
// which they are left as they are. ConfigError where an arm comes no nearer than match.tol.
std::vector<std::string> match_arms(Study& study, const ConfigNode& base, std::vector<ConfigNode>& trees,
                                    TimedSizes* sizes);

}  // namespace effllm
