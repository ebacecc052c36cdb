// What a reader's few words about broken YAML mean for who wrote it.
#pragma once
#include <string_view>

#include "config/node.h"

namespace effllm {

struct YamlProblem {
  Mark where;
  std::string message;
};

// `said`: yaml-cpp's message, at `where`. Tabs that indent, texts with a colon that lack quotes, and lines that are
// indented wrongly are named as such; other messages are passed on.
YamlProblem explain_yaml(std::string_view said, const Mark& where);

}  // namespace effllm
