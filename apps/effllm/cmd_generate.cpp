#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "decode/generator.h"
#include "train/loaded_model.h"

namespace effllm::app {

ExitCode generate(const Common& common, const GenerateArgs& args) {
  const LoadedModel m = load_model(args.model);
  GenerateOptions o;
  o.tokens = args.tokens;
  o.samples = args.samples;
  o.stop = args.stop;
  o.sampler = {.temperature = args.greedy ? 0 : args.temperature,
               .top_k = args.top_k,
               .top_p = args.top_p,
               .seed = static_cast<uint64_t>(args.seed)};
  // A model may write escape sequences; a terminal would obey them.
  const bool clean = is_terminal(STDOUT_FILENO) && !args.raw;
  const auto shown = [&](std::string_view s) { return clean ? printable(s) : std::string(s); };
  if (common.json) {
    nlohmann::json j = {{"prompt", args.prompt}, {"samples", effllm::generate(*m.model, *m.tokenizer, args.prompt, o)}};
    fmt::print("{}\n", j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return ExitCode::ok;
  }
  int64_t last = -1;
  effllm::generate(*m.model, *m.tokenizer, args.prompt, o, [&](int64_t sample, std::string_view piece) {
    if (sample != last) {
      if (last >= 0) fmt::print("\n---\n");
      fmt::print("{}", shown(args.prompt));
      last = sample;
    }
    fmt::print("{}", shown(piece));
    std::fflush(stdout);
  });
  fmt::print("\n");
  return ExitCode::ok;
}

}  // namespace effllm::app
