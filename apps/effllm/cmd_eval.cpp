#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/escapes.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "eval/compress.h"
#include "eval/evaluator.h"
#include "eval/ngram.h"
#include "io/file.h"
#include "io/run_folder.h"
#include "io/safetensors.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "train/loaded_model.h"
#include "train/memory.h"

namespace effllm::app {
namespace {

// The first window of the split and what the model makes of it, for programs that check the numbers. Where documents
// are told apart, "segments" numbers them.
void save_logits(const LoadedModel& m, const TokenizedText& text, const EvalOptions& o, const std::string& file) {
  const int64_t n = std::min<int64_t>(o.tokens, static_cast<int64_t>(text.tokens.size()));
  const Tensor ids = Tensor::view_of(std::span(text.tokens).first(static_cast<size_t>(n)), {1, n});
  std::vector<int64_t> segments;
  auto document = text.document_starts.begin();
  for (int64_t i = 0, segment = 0; o.reset_documents && i < n; ++i) {
    if (document != text.document_starts.end() && *document == i) ++segment, ++document;
    segments.push_back(segment);
  }
  const Tensor documents = segments.empty() ? Tensor() : Tensor::view_of(std::span(segments), {1, n});
  Context cx;
  if (documents.defined()) cx.segments = &documents;
  const Tensor logits = m.model->logits(ids, cx);
  std::vector<float> dense;
  for (int64_t r = 0; r < n; ++r)
    dense.insert(dense.end(), logits.view<float>().row(r), logits.view<float>().row(r) + logits.cols());
  const auto stored = [](const char* name, StoredType type, std::vector<int64_t> shape, const auto* data,
                         size_t count) {
    return StoredTensor{name, type, std::move(shape), reinterpret_cast<const std::byte*>(data), count * sizeof *data};
  };
  std::vector<StoredTensor> all = {
      stored("tokens", StoredType::i32, {1, n}, text.tokens.data(), static_cast<size_t>(n)),
      stored("logits", StoredType::f32, {1, n, logits.cols()}, dense.data(), dense.size())};
  if (!segments.empty()) all.push_back(stored("segments", StoredType::i64, {1, n}, segments.data(), segments.size()));
  write_safetensors(file, std::move(all), {{"checkpoint", path_text(m.checkpoint)}});
}

struct Rival {
  std::string name;
  double bits_per_byte;
};

// Kneser-Ney models of the training split and gzip, on the targets that the model was scored on.
std::vector<Rival> rivals(const Corpus& corpus, const Tokenizer& tokenizer, const TokenizedText& text, Split split,
                          const EvalOptions& o, const EvalResult& scored) {
  std::vector<Rival> all;
  const auto targets = static_cast<int64_t>(text.tokens.size()) - 1;
  const TokenizedText same = text.first(1 + (o.max_tokens ? std::min(o.max_tokens, targets) : targets), tokenizer);
  const TokenizedText train = corpus.tokenize(tokenizer, Split::train);
  int bits = 0;
  while ((int64_t{1} << bits) < tokenizer.vocab_size()) ++bits;
  for (int order : {2, 5}) {
    if (order * std::max(bits, 1) > 64) continue;
    const NgramScore s = NgramModel(train.tokens, tokenizer.vocab_size(), order).score(same, o.reset_documents);
    require(s.tokens == scored.tokens, "the n-gram model scored {} tokens, the model {}", s.tokens, scored.tokens);
    all.push_back({fmt::format("{}-gram, Kneser-Ney, trained on the train split", order),
                   s.nats / std::numbers::ln2 / static_cast<double>(scored.bytes)});
  }
  const auto gzip = [](std::string_view piece) {
    return 8.0 * static_cast<double>(gzip_bytes(piece)) / static_cast<double>(piece.size());
  };
  all.push_back({"gzip -9 of the whole corpus", gzip(corpus.text())});
  const std::string_view part = corpus.text(split).substr(0, static_cast<size_t>(same.bytes));
  all.push_back({same.bytes < text.bytes
                     ? fmt::format("gzip -9 of the first {} tokens of this split", same.tokens.size())
                     : "gzip -9 of this split alone",
                 gzip(part)});
  return all;
}

// What the result belongs to, beside the text.
nlohmann::json to_json(const LoadedModel& m, const Corpus& corpus, const std::vector<std::string>& other) {
  const CorpusIdentity c = corpus.identity();
  return {{"hash", c.hash()},
          {"train_end", *c.train_end},
          {"val_end", *c.val_end},
          {"separator", *c.separator},
          {"tokenizer", m.tokenizer->kind()},
          {"vocabulary", m.tokenizer->vocab_size()},
          {"other_than_trained_on", other},
          {"trained_on_before", m.earlier_data}};
}

// A run's own settings have the plain name, and each departure from them is in the name: no result takes the place of
// one that was measured otherwise.
std::string file_name(const EvalArgs& args, const LoadedModel& m, const Corpus& corpus, const EvalOptions& o) {
  const EvalOptions own = evaluation_of(m.config);
  std::string name = fmt::format("{}-{}", args.split, o.protocol);
  if (o.tokens != own.tokens) name += fmt::format("-tokens_{}", o.tokens);
  if (args.stride && o.stride != own.stride) name += fmt::format("-stride_{}", o.stride);
  if (o.max_tokens) name += fmt::format("-max_tokens_{}", o.max_tokens);
  if (!m.corpus.complete() || !differences(m.corpus, corpus.identity()).empty())
    name += fmt::format("-corpus_{}", corpus.identity().hash().substr(0, 12));
  return name + ".json";
}

// Beside the run. The result was printed: a folder that can't be written is no reason to fail.
void keep(const std::filesystem::path& file, const nlohmann::json& result) {
  try {
    write_file_atomic(file, json_text(result, 2) + "\n");
  } catch (const IoError& e) {
    print_stderr(fmt::format("warning: the result is not kept with the run: {}\n", e.what()));
  }
}

void print_result(const LoadedModel& m, const Corpus& corpus, const EvalArgs& args, const EvalOptions& o,
                  const EvalResult& r, const std::vector<Rival>& others) {
  fmt::print("{} (step {}) on {} of {}: {}\n", m.checkpoint.string(), m.step, args.split, corpus.manifest().name,
             describe(o));
  const std::string spread = std::isfinite(r.stderr_nats) ? fmt::format(" +- {:.4f}", r.stderr_nats) : "";
  const std::string per_char = r.characters ? fmt::format("{:.4f} bits/char, ", r.bits_per_char()) : "";
  fmt::print("  {:.4f}{} nats/token, {}{:.4f} bits/byte, perplexity {:.3f}, over {} tokens in {}\n", r.nats_per_token(),
             spread, per_char, r.bits_per_byte(), r.perplexity(), r.tokens, human_seconds(r.seconds));
  if (others.empty()) return;
  std::vector<std::vector<std::string>> rows = {{"", "bits/byte"}};
  rows.push_back({"this model", fmt::format("{:.3f}", r.bits_per_byte())});
  for (const Rival& b : others) rows.push_back({b.name, fmt::format("{:.3f}", b.bits_per_byte)});
  fmt::print("\n{}", table(rows));
}

}  // namespace

ExitCode eval(const Common& common, const EvalArgs& args) {
  prepare_threads();
  const LoadedModel m = load_model(args.model);
  const Corpus corpus = args.corpus.empty() ? open_corpus(m) : Corpus::open(args.corpus);
  const std::vector<std::string> other = differences(m.corpus, corpus.identity());
  if (!other.empty() && !args.allow_other_data)
    throw DataError(
        "{} was trained on another corpus than {}: {}. To evaluate on it all the same: --allow-data-mismatch",
        m.checkpoint.string(), corpus.file().string(), join(other, "; "));
  if (const std::string note = not_recorded(m, m.checkpoint.string()); !note.empty() && !common.quiet)
    print_stderr(note + "\n");
  if (!other.empty() && !common.quiet)
    print_stderr(fmt::format("not the corpus that was trained on: {}\n", join(other, "; ")));
  if (!m.earlier_data.empty() && !common.quiet)
    print_stderr(fmt::format("the run was trained on other data before:\n{}", m.earlier_data));
  const Split split = parse_split(args.split);
  const TokenizedText text = corpus.tokenize(*m.tokenizer, split);
  EvalOptions o = evaluation_of(m.config);
  if (!args.protocol.empty()) o.protocol = args.protocol;
  if (args.tokens) o.tokens = *args.tokens;
  if (args.stride) o.stride = *args.stride;
  o.max_tokens = args.max_tokens;
  if (args.stride && o.protocol != "sliding")
    throw ConfigError("--stride belongs to --protocol sliding; `{}` has none", o.protocol);
  if (const auto note = beyond_training(*m.model, trained_context(m.config), o); !note.empty() && !common.quiet)
    print_stderr(fmt::format("note: {}\n", note));
  require_evaluation(m.config, m.model->vocab(), o, static_cast<int64_t>(text.tokens.size()));
  const EvalResult r = evaluate(*m.model, text, *m.tokenizer, o);
  if (!args.save_logits.empty()) save_logits(m, text, o, args.save_logits);
  const std::vector<Rival> others =
      args.baselines ? rivals(corpus, *m.tokenizer, text, split, o, r) : std::vector<Rival>();

  nlohmann::json j = {{"schema_version", 1},
                      {"checkpoint", m.checkpoint.string()},
                      {"step", m.step},
                      {"corpus", corpus.manifest().name},
                      {"data_sha256", corpus.manifest().sha256},
                      {"data", to_json(m, corpus, other)},
                      {"split", args.split},
                      {"protocol", describe(o)},
                      {"tokens", r.tokens},
                      {"bytes", r.bytes},
                      {"text", to_string(r.kind)},
                      {"characters", r.characters ? nlohmann::json(r.characters) : nlohmann::json()},
                      {"nats_per_token", r.nats_per_token()},
                      {"stderr_nats", std::isfinite(r.stderr_nats) ? nlohmann::json(r.stderr_nats) : nlohmann::json()},
                      {"bits_per_char", r.characters ? nlohmann::json(r.bits_per_char()) : nlohmann::json()},
                      {"bits_per_byte", r.bits_per_byte()},
                      {"perplexity", r.perplexity()},
                      {"seconds", r.seconds}};
  for (const Rival& b : others) j["baselines"].push_back({{"name", b.name}, {"bits_per_byte", b.bits_per_byte}});
  if (common.json)
    print_json(j);
  else
    print_result(m, corpus, args, o, r, others);
  std::error_code error;
  if (std::filesystem::is_directory(args.model, error))
    keep(RunFolder(args.model).evaluations() / file_name(args, m, corpus, o), j);
  if (std::isfinite(r.nats)) return ExitCode::ok;
  if (common.json) return ExitCode::numerical;
  throw NumericalError("{}: the model gave values that are not finite", m.checkpoint.string());
}

}  // namespace effllm::app
