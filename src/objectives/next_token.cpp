// Cross-entropy of each token after those before it.
#include "objectives/objective.h"

namespace effllm::objectives {

extern constinit const ObjectiveInfo next_token =
    ObjectiveInfo::of<Objective>({.name = "next_token", .title = "cross-entropy of the next token"});

}  // namespace effllm::objectives
