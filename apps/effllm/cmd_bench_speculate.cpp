#include <fmt/format.h>

#include <cmath>

#include "base/escapes.h"
#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "base/version.h"
#include "bench/speculate_bench.h"
#include "bench_output.h"
#include "commands.h"
#include "given_draft.h"
#include "json_output.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "kernels/prepare.h"
#include "shared.h"
#include "train/memory_refusal.h"

namespace effllm::app {

ExitCode bench_speculate(const Common& common, const SpeculateArgs& args) {
  prepare_threads();
  const LoadedModel target = load_model(args.model);
  const GivenDraft draft = draft_of(args.draft, "draft", 1, target);
  GenerateOptions o;
  o.tokens = args.tokens;
  o.sampler = {.temperature = args.temperature, .seed = static_cast<uint64_t>(args.seed)};
  o.context = context_limit(*target.model, trained_context(target.config));
  o.draft = draft.options;
  const std::string prompt = unescape(args.prompt);
  const int64_t length = prompt_length(*target.model, *target.tokenizer, prompt, o.blank);
  require_samples(target.config, target.model->vocab(), length, args.tokens, o.context);
  Rows rows = {{"draft tokens", "acceptance", "tokens/call", "read/call", "cost of a call", "cost of a draft",
                "predicted", "measured", "tokens/s", "plain tokens/s"}};
  nlohmann::json j = {{"cpu", cpu_model()},
                      {"isa", std::string(isa())},
                      {"threads", threads()},
                      {"model", args.model},
                      {"draft", args.draft},
                      {"tokens", args.tokens},
                      {"repetitions", args.repetitions},
                      {"temperature", args.temperature}};
  const Neighbours neighbours;
  for (const int64_t tokens : args.draft_tokens) {
    o.draft.tokens = tokens;
    const SpeculateTimings t = time_speculation(*target.model, *target.tokenizer, prompt, o, args.repetitions);
    const auto n = static_cast<double>(args.tokens), calls = static_cast<double>(t.counts.calls);
    const auto number = [](double x) { return std::isfinite(x) ? fmt::format("{:.2f}", x) : std::string("-"); };
    const auto value = [](double x) { return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(); };
    const double written = static_cast<double>(t.counts.tokens) / calls,
                 read = static_cast<double>(t.counts.read) / calls;
    rows.push_back({fmt::format("{}", tokens), number(t.acceptance), number(written), number(read), number(t.call_cost),
                    number(t.draft_cost), number(t.predicted), number(t.measured),
                    fmt::format("{:.1f}", n / t.drafted.median), fmt::format("{:.1f}", n / t.plain.median)});
    j["rows"].push_back({{"draft_tokens", tokens},
                         {"acceptance", value(t.acceptance)},
                         {"tokens_per_call", value(written)},
                         {"read_per_call", value(read)},
                         {"call_cost", t.call_cost},
                         {"draft_cost", t.draft_cost},
                         {"predicted_speedup", value(t.predicted)},
                         {"measured_speedup", t.measured},
                         {"tokens_per_s", n / t.drafted.median},
                         {"plain_tokens_per_s", n / t.plain.median}});
    if (!common.json && !common.quiet)
      print_stderr(fmt::format("{}: {} times the speed of plain decoding\n", counted(tokens, "draft token"),
                               number(t.measured)));
  }
  const bool contended = neighbours.contended(threads());
  j["contended"] = contended;
  if (common.json) {
    print_json(j);
    return ExitCode::ok;
  }
  print(rows, args.format);
  note(
      fmt::format("{} each time, {}, costs in calls of the model over one token, {}, {}", counted(args.tokens, "token"),
                  counted(args.repetitions, "repetition"), counted(threads(), "thread"), isa()),
      args.format);
  if (contended) note(kContended, args.format);
  return ExitCode::ok;
}

}  // namespace effllm::app
