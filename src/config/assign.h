// Overrides that stand in a file, as keys of a map: `model.layers[0].mixer: {type: gru}`, `~optim.schedule:`.
#pragma once
#include <string>

#include "config/node.h"

namespace effllm {

struct WrittenOverride {
  std::string path;  // a.b[2]; ~a.b goes back to the default
  ConfigNode value;  // null of ~a.b alone
  Mark mark;         // of the key
};

// As apply_override of the command line's PATH=VALUE. ConfigErrors name the file's place.
void assign(ConfigNode& root, const WrittenOverride& o);

}  // namespace effllm
