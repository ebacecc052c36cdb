#include <fmt/format.h>

#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "base/version.h"
#include "bench/decode_bench.h"
#include "bench_output.h"
#include "commands.h"
#include "json_output.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "kernels/prepare.h"
#include "shared.h"
#include "train/loaded_model.h"
#include "train/memory_refusal.h"
#include "train/preflight.h"

namespace effllm::app {
namespace {

struct Subject {
  RunConfig config;
  std::unique_ptr<LanguageModel> model;
};

// The trained model, or as the configuration starts it.
Subject subject_of(const std::string& name, const std::vector<std::string>& set) {
  if (is_trained(name)) {
    if (!set.empty()) throw ConfigError("--set changes a configuration; {} is a trained model", name);
    LoadedModel m = load_model(name);
    return {std::move(m.config), std::move(m.model)};
  }
  Subject s{load_run_config(name, set), nullptr};
  s.model = std::make_unique<LanguageModel>(s.config.model, vocab_of(s.config));
  s.model->params().materialize(static_cast<uint64_t>(s.config.train.seed), DType::f32);
  return s;
}

}  // namespace

ExitCode bench_decode(const Common& common, const DecodeArgs& args) {
  prepare_threads();
  Rows rows = {{"model", "parameters", "depth", "tokens/s", "p10", "p90", "state bytes", "KV rows"}};
  nlohmann::json j = {{"cpu", cpu_model()},
                      {"isa", std::string(isa())},
                      {"threads", threads()},
                      {"tokens", args.tokens},
                      {"repetitions", args.repetitions}};
  const Neighbours neighbours;
  for (const std::string& name : args.models) {
    const Subject s = subject_of(name, args.set);
    const int64_t parameters = s.model->params().count();
    for (const int64_t depth : args.depths) {
      require_samples(s.config, s.model->vocab(), depth, args.tokens + 1, {});
      const DecodeTimings t = time_decoding(*s.model, depth, args.tokens, args.repetitions);
      const auto speed = [](double seconds) { return fmt::format("{:.1f}", 1 / seconds); };
      rows.push_back({name, fmt::format("{}", parameters), fmt::format("{}", depth), speed(t.seconds.median),
                      speed(t.seconds.p90), speed(t.seconds.p10), fmt::format("{}", t.state.all),
                      fmt::format("{}", t.state.rows)});
      j["rows"].push_back(
          {{"model", name},
           {"parameters", parameters},
           {"depth", depth},
           {"tokens_per_s", 1 / t.seconds.median},
           {"seconds_per_token", {{"median", t.seconds.median}, {"p10", t.seconds.p10}, {"p90", t.seconds.p90}}},
           {"state_bytes", t.state.all},
           {"kv_bytes", t.state.rows}});
      if (!common.json && !common.quiet)
        print_stderr(fmt::format("{} after {}: {} tokens/s\n", name, counted(depth, "token"), speed(t.seconds.median)));
    }
  }
  const bool contended = neighbours.contended(threads());
  j["contended"] = contended;
  if (common.json) {
    print_json(j);
    return ExitCode::ok;
  }
  print(rows, args.format);
  note(fmt::format("one sequence, {} each time, {}, {}, {}", counted(args.tokens, "token"),
                   counted(args.repetitions, "repetition"), counted(threads(), "thread"), isa()),
       args.format);
  if (contended) note(kContended, args.format);
  return ExitCode::ok;
}

}  // namespace effllm::app
