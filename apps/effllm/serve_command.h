// The command that waits for requests.
#pragma once
#include <optional>
#include <string>

#include "commands.h"
#include "serve/serve_limits.h"

namespace effllm::app {

struct ServeArgs {
  std::string model, host;  // no host: 127.0.0.1
  int64_t port = 8080;
  std::optional<int64_t> context;
  ServeLimits limits;
};
ExitCode serve(const Common&, const ServeArgs&);

}  // namespace effllm::app
