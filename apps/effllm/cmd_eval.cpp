#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/text.h"
#include "commands.h"
#include "eval/compress.h"
#include "eval/evaluator.h"
#include "eval/ngram.h"
#include "io/file.h"
#include "io/run_folder.h"
#include "io/safetensors.h"
#include "train/loaded_model.h"

namespace effllm::app {
namespace {

// The first window of the split and what the model makes of it, for programs that check the numbers.
void save_logits(const LoadedModel& m, const TokenizedText& text, int64_t tokens, const std::string& file) {
  const int64_t n = std::min<int64_t>(tokens, static_cast<int64_t>(text.tokens.size()));
  const Tensor ids = Tensor::view_of(std::span(text.tokens).first(static_cast<size_t>(n)), {1, n});
  const Tensor logits = m.model->logits(ids, Context{});
  std::vector<float> dense;
  for (int64_t r = 0; r < n; ++r)
    dense.insert(dense.end(), logits.view<float>().row(r), logits.view<float>().row(r) + logits.cols());
  write_safetensors(file,
                    {{"tokens",
                      StoredType::i32,
                      {1, n},
                      reinterpret_cast<const std::byte*>(text.tokens.data()),
                      static_cast<size_t>(n) * 4},
                     {"logits",
                      StoredType::f32,
                      {1, n, logits.cols()},
                      reinterpret_cast<const std::byte*>(dense.data()),
                      dense.size() * 4}},
                    {{"checkpoint", m.checkpoint.string()}});
}

struct Rival {
  std::string name;
  double bits_per_byte;
};

// Kneser-Ney models of the training split and gzip, on the same text.
std::vector<Rival> rivals(const Corpus& corpus, const Tokenizer& tokenizer, const TokenizedText& text, Split split,
                          bool reset) {
  std::vector<Rival> all;
  const TokenizedText train = corpus.tokenize(tokenizer, Split::train);
  int bits = 0;
  while ((int64_t{1} << bits) < tokenizer.vocab_size()) ++bits;
  for (int order : {2, 5}) {
    if (order * std::max(bits, 1) > 64) continue;
    const NgramScore s = NgramModel(train.tokens, tokenizer.vocab_size(), order).score(text, reset);
    const double bytes =
        static_cast<double>(text.bytes) * static_cast<double>(s.tokens) / static_cast<double>(text.tokens.size());
    all.push_back(
        {fmt::format("{}-gram, Kneser-Ney, trained on the train split", order), s.nats / std::numbers::ln2 / bytes});
  }
  const std::string_view whole = corpus.text();
  all.push_back({"gzip -9 of the whole corpus",
                 8.0 * static_cast<double>(gzip_bytes(whole)) / static_cast<double>(whole.size())});
  const std::string_view part = corpus.text(split);
  all.push_back(
      {"gzip -9 of this split alone", 8.0 * static_cast<double>(gzip_bytes(part)) / static_cast<double>(part.size())});
  return all;
}

}  // namespace

ExitCode eval(const Common& common, const EvalArgs& args) {
  const LoadedModel m = load_model(args.model);
  const Corpus corpus = Corpus::open(args.corpus.empty() ? m.config.data.corpus : args.corpus);
  if (corpus.manifest().sha256 != m.data_sha256 && !args.allow_other_data)
    throw DataError(
        "{} was trained on a corpus with SHA-256 {}, and `{}` has {}. To evaluate on it all the same: "
        "--allow-data-mismatch",
        m.checkpoint.string(), m.data_sha256.substr(0, 12), corpus.manifest().name,
        corpus.manifest().sha256.substr(0, 12));
  const Split split = parse_split(args.split);
  const TokenizedText text = corpus.tokenize(*m.tokenizer, split);
  const bool reset = m.config.data.reset == "document";
  EvalOptions o{.protocol = args.protocol.empty() ? m.config.eval.protocol : args.protocol,
                .tokens = args.tokens.value_or(m.config.eval.tokens.value_or(m.config.train.context)),
                .stride = args.stride.value_or(m.config.eval.stride.value_or(0)),
                .max_tokens = args.max_tokens,
                .reset_documents = reset};
  if (!args.save_logits.empty()) save_logits(m, text, o.tokens, args.save_logits);
  const EvalResult r = evaluate(*m.model, text, *m.tokenizer, o);
  const std::vector<Rival> others =
      args.baselines ? rivals(corpus, *m.tokenizer, text, split, reset) : std::vector<Rival>();

  nlohmann::json j = {{"schema_version", 1},
                      {"checkpoint", m.checkpoint.string()},
                      {"step", m.step},
                      {"corpus", corpus.manifest().name},
                      {"data_sha256", corpus.manifest().sha256},
                      {"split", args.split},
                      {"protocol", describe(o)},
                      {"tokens", r.tokens},
                      {"bytes", r.bytes},
                      {"nats_per_token", r.nats_per_token()},
                      {"stderr_nats", std::isfinite(r.stderr_nats) ? nlohmann::json(r.stderr_nats) : nlohmann::json()},
                      {"bits_per_char", r.bits_per_char()},
                      {"bits_per_byte", r.bits_per_byte()},
                      {"perplexity", r.perplexity()},
                      {"seconds", r.seconds}};
  for (const Rival& b : others) j["baselines"].push_back({{"name", b.name}, {"bits_per_byte", b.bits_per_byte}});
  std::error_code error;
  if (std::filesystem::is_directory(args.model, error))
    write_file_atomic(RunFolder(args.model).evaluations() / fmt::format("{}-{}.json", args.split, o.protocol),
                      j.dump(2) + "\n");
  if (common.json) {
    fmt::print("{}\n", j.dump());
    return std::isfinite(r.nats) ? ExitCode::ok : ExitCode::numerical;
  }
  fmt::print("{} (step {}) on {} of {}: {}\n", m.checkpoint.string(), m.step, args.split, corpus.manifest().name,
             describe(o));
  std::vector<std::vector<std::string>> rows = {{"", "bits/byte"}};
  fmt::print(
      "  {:.4f} +- {:.4f} nats/token, {:.4f} bits/char, {:.4f} bits/byte, perplexity {:.3f}, over {} tokens in {}\n\n",
      r.nats_per_token(), r.stderr_nats, r.bits_per_char(), r.bits_per_byte(), r.perplexity(), r.tokens,
      human_seconds(r.seconds));
  rows.push_back({"this model", fmt::format("{:.3f}", r.bits_per_byte())});
  for (const Rival& b : others) rows.push_back({b.name, fmt::format("{:.3f}", b.bits_per_byte)});
  if (!others.empty()) fmt::print("{}", table(rows));
  if (!std::isfinite(r.nats))
    throw NumericalError("{}: the model gave values that are not finite", m.checkpoint.string());
  return ExitCode::ok;
}

}  // namespace effllm::app
