// How well a model predicts a text, by protocols (protocol.h) that say exactly which tokens are scored, from what
// context.
//
// Of n tokens x_0 .. x_{n-1} the first is context only; every other is scored once: n - 1 targets in every protocol.
// T is `tokens`.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "eval/by_context.h"
#include "eval/eval_options.h"
#include "eval/metrics.h"
#include "objectives/objective.h"

namespace effllm {

// Tokens of a text, and their bytes.
struct Counted {
  int64_t tokens = 0, bytes = 0;
};

struct EvalResult {
  std::string protocol;
  TextKind kind = TextKind::utf8;  // of the corpus: where it is bytes, characters can't be counted
  double nats = 0;                 // sum of -log p over the scored tokens; NaN where the model gave NaN
  int64_t tokens = 0, bytes = 0,
          characters = 0;  // that were scored; characters are code points of UTF-8, others have 0
  // Of the text, not of a task: what is read and never predicted, and what is neither. With what was scored these are
  // all of its tokens and bytes, each once.
  Counted context_only = {}, unread = {};
  double stderr_nats = 0;  // standard error of nats_per_token(), over pieces of T tokens; NaN below two pieces
  // True where `nats` is an upper bound, estimated; then the standard error of nats_per_token() over the draws, NaN
  // where a window had one.
  bool bound = false;
  double bound_stderr = 0;
  bool given_rest = false;  // Objective::given_rest
  double seconds = 0;
  std::vector<Measured> layers = {};  // with EvalOptions::training_choice what layers that choose tokens measured
  // With EvalOptions::by_exit the model that ends after 1, 2 ... layers, and over so many predictions the sum of the
  // layers after which its likeliest token stays what it is.
  std::vector<ExitScore> exits = {};
  int64_t settled = 0, predictions = 0;
  // With EvalOptions::context_bands the scored tokens by how many the model is given before them.
  std::vector<ContextBand> by_context = {};
  // Of the samples of a task.
  struct Answers {
    int64_t tokens = 0, right = 0, samples = 0, whole = 0;  // targets; of these right; samples; of these all right
    double nats = 0;
    double accuracy() const { return static_cast<double>(right) / static_cast<double>(tokens); }
    double sample_accuracy() const { return static_cast<double>(whole) / static_cast<double>(samples); }
  };
  Answers answers = {};
  std::map<int64_t, Answers> by_length = {}, by_difficulty = {};  // of samples of so many tokens; so difficult

  EvalResult at_exit(size_t after) const;  // of the model that ends there; no standard error
  double agreement(size_t after) const;    // share of predictions whose likeliest token is the last layer's
  double layers_needed() const;            // mean of `settled`
  double nats_per_token() const { return nats / static_cast<double>(tokens); }
  double bits_per_char() const;  // NaN where no character was scored
  double bits_per_byte() const;  // NaN of a task
  double bits() const;           // in the unit of measure_of(kind)
  double perplexity() const;     // of a token
  std::vector<Measured> measured() const;
};

// ConfigError where the options fit no text, or not this model and objective: sizes out of range, windows longer than
// learned positions reach, a carried state with learned positions, windows that overlap where each takes out tokens of
// its own, exits of a score that has none, bands of one
// that does not go token by token.
void require_options(const LanguageModel& model, const Objective& objective, const Tokenizer& tokenizer,
                     const EvalOptions& options);
// Whether such windows overlap, which would score tokens several times.
bool scores_again(const Objective& objective, const EvalOptions& options);

// The same evaluation of a text of `tokens` tokens, of which inputs end `lookahead` before the last, with what is
// beyond it cut down to it: windows and chunks that are longer become one, and a number of targets that it does not
// have becomes all of them.
EvalOptions fitted(EvalOptions options, int64_t tokens, int64_t lookahead = 1);

// "sliding windows of 256 tokens, stride 64": results compare only where this text and the split agree.
std::string describe(const EvalOptions& options);

// What to tell who evaluates with more context than training showed a mechanism that doesn't follow more; else "".
std::string beyond_training(const LanguageModel& model, int64_t trained, const EvalOptions& options);

// Scores `text`. The bits of the result don't depend on the number of threads. ConfigError as require_options;
// DataError for a split with nothing to score or tokens outside the model's vocabulary. `progress` is told, on the
// caller's thread, which part of the work has been taken on.
EvalResult evaluate(const LanguageModel& model, const Objective& objective, const TokenizedText& text,
                    const Tokenizer& tokenizer, const EvalOptions& options,
                    const std::function<void(double)>& progress = nullptr);

}  // namespace effllm
