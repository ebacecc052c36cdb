#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/random.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "shared.h"
#include "train/loaded_model.h"
#include "train/preflight.h"
#include "verify/read_of.h"
#include "verify/verify.h"

namespace effllm::app {
namespace {

// A model in one type of number: the trained one, or as a configuration starts it.
struct Subject {
  std::unique_ptr<LanguageModel> model;
  std::string what;
  Tensor ids;        // i32 [B, T]
  Tensor read = {};  // i32 [B, S], of the same texts, where it has an encoder
};

// Pieces of the validation split, evenly apart; none where the corpus is not at hand or too short.
Tensor ids_of_corpus(const LoadedModel& m, int64_t batch, int64_t tokens) {
  try {
    const TokenizedText text = open_corpus(m).tokenize(*m.tokenizer, Split::val);
    const auto all = static_cast<int64_t>(text.tokens.size());
    if (all < tokens) return {};
    const Tensor ids = Tensor::dense({batch, tokens}, DType::i32);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t from = batch > 1 ? (all - tokens) * b / (batch - 1) : 0;
      std::copy_n(text.tokens.data() + from, tokens, ids.data<int32_t>() + b * tokens);
    }
    return ids;
  } catch (const DataError&) {
    return {};
  }
}

Tensor random_ids(int64_t batch, int64_t tokens, int64_t vocab) {
  const Tensor ids = Tensor::dense({batch, tokens}, DType::i32);
  const RandomStream numbers(1, "verify.ids");
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data<int32_t>()[i] =
        static_cast<int32_t>(numbers.below(static_cast<uint64_t>(i), static_cast<uint64_t>(vocab)));
  return ids;
}

Subject subject_of(const VerifyArgs& args, DType type) {
  Subject s;
  const auto choose = [&](const RunConfig& c, int64_t vocab, const LoadedModel* trained) {
    const int64_t block = s.model->config().block;
    int64_t tokens = args.tokens.value_or(std::max(std::min<int64_t>(c.train.context, 512), 2 * block));
    if (s.model->longest() < 4)
      throw ConfigError("verify cuts sequences of at least 4 tokens, but the model has learned positions for {}",
                        s.model->longest());
    if (args.tokens && tokens > s.model->longest())
      throw ConfigError("--tokens {}: the model has learned positions for {}", tokens, s.model->longest());
    tokens = std::max<int64_t>(4, std::min(tokens, s.model->longest()));
    if (tokens < 2 * block)
      throw ConfigError("verify cuts sequences between blocks: {} tokens are less than two of {}; give more (--tokens)",
                        tokens, block);
    if (trained) s.ids = ids_of_corpus(*trained, args.batch, tokens);
    s.what += s.ids.defined() ? ", text of its corpus" : ", random tokens";
    if (!s.ids.defined()) s.ids = random_ids(args.batch, tokens, vocab);
    if (s.model->has_encoder()) s.read = read_of(*c.objective.type.build(), *s.model, s.ids);
  };
  if (is_trained(args.model)) {
    if (!args.set.empty()) throw ConfigError("--set changes a configuration; {} is a trained model", args.model);
    LoadedModel m = load_model(args.model, type);
    s.what = fmt::format("{} (step {})", m.checkpoint.string(), m.step);
    s.model = std::move(m.model);
    choose(m.config, s.model->vocab(), &m);
    return s;
  }
  const RunConfig c = load_run_config(args.model, args.set);
  const int64_t vocab = vocab_of(c);
  s.model = std::make_unique<LanguageModel>(c.model, vocab);
  s.model->params().materialize(static_cast<uint64_t>(c.train.seed), type);
  s.what = fmt::format("{}, untrained", args.model);
  choose(c, vocab, nullptr);
  return s;
}

nlohmann::json to_json(const Finding& f, DType type) {
  nlohmann::json j = {{"check", f.check},
                      {"type", to_string(type)},
                      {"passed", f.passed},
                      {"worst", f.worst},
                      {"bound", f.bound == kWaived ? nlohmann::json() : nlohmann::json(f.bound)},
                      {"where", f.where},
                      {"flips", f.flips},
                      {"compared", f.compared}};
  if (f.flips) j["margin"] = f.margin;
  if (!f.notes.empty()) j["notes"] = f.notes;
  return j;
}

std::vector<std::string> to_row(const Finding& f, DType type) {
  std::string where = !f.where.empty() ? f.where : f.check == "finite numbers" ? "all are" : "every bit is the same";
  if (f.flips)
    where += fmt::format("; {} of {} chose otherwise, smallest margin {:.1e}", f.flips, counted(f.compared, "token"),
                         f.margin);
  return {f.check,
          std::string(to_string(type)),
          f.passed ? "ok" : "FAILED",
          f.worst > 0 ? fmt::format("{:.1e}", f.worst) : "0",
          f.bound == kWaived ? "waived"
          : f.bound > 0      ? fmt::format("{:.0e}", f.bound)
                             : "0",
          std::move(where)};
}

}  // namespace

ExitCode verify(const Common& common, const VerifyArgs& args) {
  prepare_threads();
  std::vector<DType> types;
  if (args.type != "f32") types.push_back(DType::f64);
  if (args.type != "f64") types.push_back(DType::f32);
  std::vector<std::vector<std::string>> rows = {{"check", "type", "", "worst", "allowed", "where"}};
  nlohmann::json found = nlohmann::json::array();
  std::string what;
  std::vector<std::string> notes;
  int64_t failed = 0, tokens = 0;
  for (DType type : types) {
    const Subject s = subject_of(args, type);
    what = s.what;
    tokens = s.ids.dim(1);
    for (const Finding& f : effllm::verify(*s.model, s.ids, {.seed = 1, .scratch = {}, .read = s.read})) {
      failed += !f.passed;
      rows.push_back(to_row(f, type));
      found.push_back(to_json(f, type));
      for (const std::string& n : f.notes)
        if (std::ranges::find(notes, n) == notes.end()) notes.push_back(n);
    }
  }
  if (common.json) {
    print_json({{"model", what}, {"tokens", tokens}, {"batch", args.batch}, {"failed", failed}, {"findings", found}});
  } else {
    fmt::print("{}\n{} of {}; differences of logits as parts of the largest\n\n{}", what,
               counted(args.batch, "sequence"), counted(tokens, "token"), table(rows));
    for (const std::string& n : notes) fmt::print("waiver, {}\n", n);
    fmt::print("\n{}\n", failed ? fmt::format("{} of {} checks failed", failed, found.size())
                                : fmt::format("all {} checks hold", found.size()));
  }
  return failed ? ExitCode::numerical : ExitCode::ok;
}

}  // namespace effllm::app
