#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/terminal.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "serve/server.h"
#include "serve_command.h"
#include "shared.h"
#include "train/memory_refusal.h"
#include "train/signals.h"

namespace effllm::app {
namespace {

// What a request may ask for at most has room in memory: said before the first comes. A text is scored after it was
// written, by one window.
void require_room(const ServedModel& s) try {
  const LoadedModel& m = s.loaded;
  require_samples(m.config, s.model().vocab(), s.limits.prompt_tokens, s.limits.new_tokens, s.context);
  if (!s.scores()) return;
  EvalOptions window;
  window.batch = 1;
  window.tokens = std::min(s.limits.prompt_tokens + s.limits.new_tokens, s.model().longest());
  require_evaluation(m.config, s.model().vocab(), window, window.tokens + 1);
} catch (const MemoryError& e) {
  throw MemoryError("a request as large as --max-prompt and --max-tokens allow: {}", e.what());
}

}  // namespace

ExitCode serve(const Common& common, const ServeArgs& args) {
  const Signals signals(common.quiet ? "" : "\nending: the request in work is finished; Ctrl-C again ends at once\n");
  prepare_threads();
  const LoadedModel m = load_model(args.model);
  require_continuation(m);
  const ServedModel served{.loaded = m,
                           .id = m.config.name,
                           .context = context_limit(*m.model, trained_context(m.config), args.context),
                           .limits = args.limits};
  require_room(served);
  ServerAddress address{.port = static_cast<int>(args.port), .local_only = args.host.empty()};
  if (!args.host.empty()) address.host = args.host;
  if (!address.local_only && !common.quiet)
    print_stderr(fmt::format("warning: whoever reaches {} may use the model: there is no password\n", address.host));
  Server server(served, address);
  const bool sixth = address.host.find(':') != std::string::npos;  // an address of IPv6 stands in brackets
  const std::string url = fmt::format("http://{}:{}", sixth ? "[" + address.host + "]" : address.host, server.port());
  if (common.json)
    print_json({{"url", url}, {"port", server.port()}, {"model", served.id}});
  else
    fmt::print("{}/v1/completions answers for the model {}\n", url, served.id);
  std::fflush(stdout);
  server.run([] { return Signals::stop_requested(); });
  return ExitCode::ok;
}

}  // namespace effllm::app
