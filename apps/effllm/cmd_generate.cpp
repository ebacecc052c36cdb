#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <iterator>

#include "base/clock.h"
#include "base/escapes.h"
#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "data/text_kind.h"
#include "decode/generator.h"
#include "given_draft.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "shared.h"
#include "store/file.h"
#include "train/loaded_model.h"
#include "train/memory_refusal.h"

namespace effllm::app {
namespace {

constexpr int64_t kLongestPrompt = int64_t{1} << 30;  // bytes

std::string prompt_of(const GenerateArgs& args) {
  if (args.prompt_file.empty()) return unescape(args.prompt);
  if (args.prompt_file == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  return read_file(args.prompt_file, kLongestPrompt);
}

// Tokens of the prompt. What the vocabulary lacks is an error of the command line, or of the file; so are blanks that
// don't fit the model.
int64_t length_of(const std::string& prompt, const LoadedModel& m, const GenerateOptions& o, const GenerateArgs& args) {
  try {
    return prompt_length(*m.model, *m.tokenizer, prompt, o.blank);
  } catch (const ConfigError& e) {
    throw ConfigError("{}: {}", args.prompt_file.empty() ? "--prompt" : "--prompt-file", e.what());
  } catch (const DataError& e) {
    if (args.prompt_file.empty()) throw ConfigError("--prompt: {}", e.what());
    throw DataError("{}: {}", args.prompt_file == "-" ? "standard input" : args.prompt_file, e.what());
  }
}

double share(int64_t some, int64_t of) { return of > 0 ? static_cast<double>(some) / static_cast<double>(of) : 0; }

nlohmann::json to_json(const DraftCounts& c, double seconds) {
  return {{"drafted", c.drafted},
          {"checked", c.checked},
          {"accepted", c.accepted},
          {"acceptance", c.checked > 0 ? nlohmann::json(share(c.accepted, c.checked)) : nlohmann::json()},
          {"tokens", c.tokens},
          {"calls", c.calls},
          {"read", c.read},
          {"tokens_per_call", c.calls > 0 ? nlohmann::json(share(c.tokens, c.calls)) : nlohmann::json()},
          {"seconds", seconds}};
}

std::string told(const DraftCounts& c, double seconds) {
  return fmt::format(
      "draft: {} of {} checked tokens accepted ({:.1f} %), {} drafted; {:.2f} tokens a call of the model ({} in {}); "
      "{:.3f} s\n",
      c.accepted, c.checked, 100 * share(c.accepted, c.checked), c.drafted, share(c.tokens, c.calls), c.tokens,
      counted(c.calls, "call"), seconds);
}

}  // namespace

ExitCode generate(const Common& common, const GenerateArgs& args) {
  prepare_threads();
  const LoadedModel m = load_model(args.model);
  require_continuation(m);
  GenerateOptions o;
  o.tokens = args.tokens;
  o.samples = args.samples;
  for (const std::string& s : args.stop) o.stop.push_back(unescape(s));
  o.sampler = {.temperature = args.greedy ? 0 : args.temperature,
               .top_k = args.top_k,
               .top_p = args.top_p,
               .seed = static_cast<uint64_t>(args.seed)};
  o.denoise = {.steps = args.steps, .block = args.block, .confident = args.unmask == "confidence"};
  if (!args.blank.empty() && m.model->config().extra_targets == 0)
    throw ConfigError(
        "--blank: the model fills nothing in, it continues a prompt; that is for models that were trained "
        "by span_corruption");
  if (!args.blank.empty()) o.blank = unescape(args.blank);
  const std::string prompt = prompt_of(args);
  if (const auto note = byte_order_note(prompt); !note.empty() && !common.quiet)
    print_stderr(fmt::format("warning: the prompt {}\n", note));
  o.context = context_limit(*m.model, trained_context(m.config), args.context);
  const int64_t prompt_length = length_of(prompt, m, o, args);
  if (!common.quiet && o.context.takes_effect(prompt_length, o.tokens))
    print_stderr(fmt::format("context: {}{}\n", describe(o.context),
                             args.context ? "" : ", as in training; --context chooses otherwise"));
  if (const auto note = short_of_places(*m.model, *m.tokenizer, prompt, o); !note.empty() && !common.quiet)
    print_stderr(fmt::format("context: {}\n", note));
  require_samples(m.config, m.model->vocab(), prompt_length, args.tokens, o.context);
  const bool drafting = !args.draft.empty();
  const GivenDraft draft = drafting ? draft_of(args.draft, "--draft", args.draft_tokens, m) : GivenDraft();
  o.draft = draft.options;
  if (draft.model)
    require_samples(draft.model->config, draft.model->model->vocab(), prompt_length, args.tokens, o.draft.context);
  DraftCounts counts;
  const auto seconds = [begun = seconds_now()] { return seconds_now() - begun; };
  // A model may write escape sequences; a terminal would obey them.
  const bool clean = is_terminal(STDOUT_FILENO) && !args.raw;
  const auto shown = [&](std::string_view s) { return clean ? printable(s) : std::string(s); };
  if (common.json) {
    const ContextLimit& c = o.context;
    const std::vector<std::string> samples = effllm::generate(*m.model, *m.tokenizer, prompt, o, {}, &counts);
    nlohmann::json drafted;
    if (drafting) {
      drafted = to_json(counts, seconds());
      drafted["model"] = draft.model ? nlohmann::json(draft.model->checkpoint.string()) : nlohmann::json();
      drafted["draft_tokens"] = args.draft_tokens;
    }
    std::vector<std::string> encoded;
    for (const std::string& s : samples) encoded.push_back(base64(s));
    const std::string before(before_text(*m.model, prompt, o.blank));
    print_json({{"prompt", prompt},
                {"prompt_base64", base64(prompt)},
                {"before", before},
                {"before_base64", base64(before)},
                {"context", {{"tokens", c.tokens ? nlohmann::json(c.tokens) : nlohmann::json()}, {"anew", c.anew}}},
                {"draft", drafted},
                {"samples", samples},
                {"samples_base64", encoded}});
    return ExitCode::ok;
  }
  int64_t last = -1;
  const auto show = [&](int64_t sample, std::string_view piece) {
    if (sample != last) {
      if (last >= 0) fmt::print("\n---\n");
      fmt::print("{}", shown(before_text(*m.model, prompt, o.blank)));
      last = sample;
    }
    fmt::print("{}", shown(piece));
    std::fflush(stdout);
  };
  effllm::generate(*m.model, *m.tokenizer, prompt, o, show, &counts);
  fmt::print("\n");
  std::fflush(stdout);
  if (drafting && !common.quiet) print_stderr(told(counts, seconds()));
  return ExitCode::ok;
}

}  // namespace effllm::app
