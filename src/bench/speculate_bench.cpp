#include "bench/speculate_bench.h"

#include <cmath>

#include "base/text.h"
#include "decode/reading.h"

namespace effllm {

Quantiles time_call(const LanguageModel& model, int64_t depth, int64_t tokens, int64_t repetitions) {
  if (depth + tokens > model.longest())
    throw ConfigError("{} after {} are more than the {} that the model has learned positions for",
                      counted(tokens, "token"), depth, model.longest());
  const Tape::Paused paused;
  std::vector<int32_t> text(static_cast<size_t>(depth + tokens));
  for (size_t i = 0; i < text.size(); ++i)
    text[i] = static_cast<int32_t>((3 * i + 7) % static_cast<size_t>(model.vocab()));
  Reading reading(model, {}, depth + tokens);
  reading.read(std::span(text).first(static_cast<size_t>(depth)));
  std::vector<double> seconds;
  for (int64_t i = -2; i < repetitions; ++i) {  // the first ones get their memory
    reading.mark_alone();
    const double from = seconds_now();
    reading.read(text, tokens);
    if (i >= 0) seconds.push_back(seconds_now() - from);
    reading.rewind(depth);
  }
  return quantiles(seconds);
}

SpeculateTimings time_speculation(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                                  const GenerateOptions& options, int64_t repetitions) {
  SpeculateTimings t;
  std::vector<double> plain, drafted;
  for (int64_t i = 0; i < repetitions; ++i) {
    GenerateOptions o = options;
    o.sampler.seed += static_cast<uint64_t>(i);
    double from = seconds_now();
    generate(model, tokenizer, prompt, o, {}, &t.counts);
    drafted.push_back(seconds_now() - from);
    o.draft = {};
    from = seconds_now();
    generate(model, tokenizer, prompt, o);
    plain.push_back(seconds_now() - from);
  }
  t.plain = quantiles(plain);
  t.drafted = quantiles(drafted);
  t.measured = t.plain.median / t.drafted.median;

  constexpr int64_t kCalls = 20;
  const auto d = static_cast<double>(options.draft.tokens), calls = static_cast<double>(t.counts.calls);
  const int64_t depth = std::max<int64_t>(1, options.tokens / 2);
  const auto seconds = [&](const LanguageModel& m, int64_t tokens) {
    return time_call(m, depth, tokens, kCalls).median;
  };
  const double one = seconds(model, 1);
  t.call_cost = seconds(model, options.draft.tokens + 1) / one;
  t.draft_cost = options.draft.model ? seconds(*options.draft.model, 1) / one : 0;
  t.acceptance = static_cast<double>(t.counts.accepted) / static_cast<double>(t.counts.checked);
  const double read =
      seconds(model, std::max<int64_t>(1, std::llround(static_cast<double>(t.counts.read) / calls))) / one;
  const double a = t.acceptance, of_round = a < 1 ? (1 - std::pow(a, d + 1)) / (1 - a) : d + 1;
  t.predicted = of_round / (read + d * t.draft_cost);
  return t;
}

}  // namespace effllm
