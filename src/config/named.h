// Names that a configuration may give for a thing, each with a line about it: what `effllm list` prints.
#pragma once
#include <string_view>

namespace effllm {

struct NamedInfo {
  std::string_view name, summary;
};

}  // namespace effllm
