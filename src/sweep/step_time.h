// What a training step of a configuration takes on this machine, by a few of them.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "config/node.h"

namespace effllm {

struct StepTime {
  // Seconds of a step, of all but the first: what else runs on the machine is in the mean, and hardly in the lower
  // quartile.
  double quartile = 0, mean = 0;
  double start = 0;  // until the first
};

// Of each configuration by `effllm bench train --follow`, `jobs` of them at once with `threads` threads each: four
// steps, and where these are over in no time so many that they take a second. `scratch`: a folder for what
// programs say. Unset where steps can't be timed, or a signal asks to stop.
std::vector<std::optional<StepTime>> time_steps(const std::vector<ConfigNode>& configs,
                                                const std::filesystem::path& scratch, int jobs, int threads);

// A folder of this process for what is thrown away, which goes with the object.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace effllm
