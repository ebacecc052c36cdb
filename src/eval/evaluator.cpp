#include "eval/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "base/out_of_memory.h"
#include "base/text.h"
#include "eval/eval_plan.h"
#include "eval/task_ledgers.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr Metric kPerplexity{"ppl", "1", "perplexity per token"},
    kPerplexityBound{"ppl", "1", "perplexity per token, at most"},
    kBoundError{
        "bound_stderr", "nats/token",
        "standard error of the bound over its draws, as if they were independent: spread evenly, they have less"},
    kStandardError{"stderr", "nats/token", "standard error of the cross entropy"},
    kScoredTokens{"scored_tokens", "tokens", "tokens that were scored"},
    kAccuracy{"accuracy", "1", "share of the scored targets that are the likeliest token"},
    kSampleAccuracy{"sample_accuracy", "1", "share of the samples all of whose targets are"};

struct Score {
  double nats = 0, variance = 0;
  int64_t tokens = 0, bytes = 0, characters = 0, right = 0;
  void operator+=(const Score& o) {
    nats += o.nats, variance += o.variance, tokens += o.tokens, bytes += o.bytes, characters += o.characters;
    right += o.right;
  }
};

// Tokens that the windows of a plan have together.
int64_t tokens_of(const EvalPlan& plan) {
  int64_t tokens = 0;
  for (int64_t i = 0; i < plan.windows(); ++i) tokens += plan.window(i).length();
  return tokens;
}

// The plan of a text that can be scored.
EvalPlan plan_of(const LanguageModel& model, const Objective& objective, const TokenizedText& text,
                 const EvalOptions& o) {
  const int64_t inputs = scored_inputs(o, static_cast<int64_t>(text.tokens.size()) - objective.scored_ahead());
  if (inputs < 1)
    throw DataError("a split of {} has nothing to predict; {} are needed",
                    counted(static_cast<int64_t>(text.tokens.size()), "token"), 1 + objective.scored_ahead());
  for (int64_t i = 0; i < inputs + objective.scored_ahead(); ++i)
    if (const int32_t id = text.tokens[static_cast<size_t>(i)]; id < 0 || id >= model.vocab())
      throw DataError("token {} is {}, outside the model's vocabulary of {}", i, id, model.vocab());
  return {o, inputs};
}

class Evaluation {
 public:
  Evaluation(const LanguageModel& model, const Objective& objective, const TokenizedText& text,
             const Tokenizer& tokenizer, const EvalOptions& o)
      : model_(model),
        objective_(objective),
        text_(text),
        tokenizer_(tokenizer),
        options_(o),
        plan_(plan_of(model, objective, text, o)),
        scores_(static_cast<size_t>(plan_.windows())),
        measured_(tokens_of(plan_)),
        exits_(o.by_exit ? scores_.size() : 0),
        by_context_(o.context_bands, scores_.size()),
        predicted_(text.labels.empty() ? text.tokens.size() : 0) {
    require(text.samples.empty() || text.samples.size() == scores_.size(), "{} windows of {} samples", scores_.size(),
            text.samples.size());
  }

  void run(const std::function<void(double)>& progress) {
    const int64_t tasks = plan_.tasks();
    const auto told = [&](int64_t i) {
      if (progress) progress(static_cast<double>(i) / static_cast<double>(tasks));
    };
    if (const int workers = plan_.workers(threads()); workers > 1 && !in_parallel()) {
      std::atomic<int64_t> next = 0;
      run_workers(workers, [&](int worker) {
        try {
          for (int64_t i; (i = next.fetch_add(1)) < tasks;) {
            if (worker == 0) told(i);
            score(i, nullptr);
          }
        } catch (...) {
          next = tasks;
          throw;
        }
      });
      return;
    }
    State state;
    if (plan_.carried()) state = model_.make_state(1, plan_.inputs());
    for (int64_t i = 0; i < tasks; ++i) told(i), score(i, plan_.carried() ? &state : nullptr);
  }

  // Sums in the order of the text.
  EvalResult summarise() const {
    Score total;
    const auto piece_of = [&](size_t i) { return plan_.window(static_cast<int64_t>(i)).scored / options_.tokens; };
    std::vector<Piece> pieces(static_cast<size_t>(piece_of(scores_.size() - 1) + 1));
    for (size_t i = 0; i < scores_.size(); ++i) {
      total += scores_[i];
      Piece& piece = pieces[static_cast<size_t>(piece_of(i))];
      piece.nats += scores_[i].nats, piece.tokens += scores_[i].tokens;
    }
    if (total.tokens == 0) throw DataError("every target of the split begins a document: nothing to score");
    EvalResult r{.protocol = std::string(options_.protocol.name()),
                 .kind = text_.kind,
                 .nats = total.nats,
                 .tokens = total.tokens,
                 .bytes = total.bytes,
                 .characters = text_.kind == TextKind::bytes || text_.kind == TextKind::symbols ? 0 : total.characters,
                 .layers = measured_.rows()};
    const auto n = static_cast<double>(total.tokens);
    if (!text_.samples.empty()) add_answers(r);
    for (const RowScore& window : exits_) {
      r.settled += window.settled;
      r.predictions += window.predictions;
      r.exits.resize(window.exits.size());
      for (size_t l = 0; l < r.exits.size(); ++l) {
        r.exits[l].nats += window.exits[l].nats;
        r.exits[l].agrees += window.exits[l].agrees;
      }
    }
    if (!predicted_.empty()) add_unscored(r);
    r.bound = objective_.bound() && !options_.left_to_right && !options_.each_alone;
    r.given_rest = objective_.given_rest();
    r.bound_stderr = std::sqrt(total.variance) / n;
    r.stderr_nats = ratio_error(pieces, r.nats_per_token(), n);
    r.by_context = by_context_.rows(piece_of);
    return r;
  }

 private:
  // Windows are the samples of the task.
  void add_answers(EvalResult& r) const {
    for (size_t i = 0; i < scores_.size(); ++i) {
      const Score& s = scores_[i];
      const SampleSize& size = text_.samples[i];
      for (EvalResult::Answers* a : {&r.answers, &r.by_length[size.length], &r.by_difficulty[size.difficulty]}) {
        a->tokens += s.tokens;
        a->right += s.right;
        a->samples += 1;
        a->whole += s.right == s.tokens;
        a->nats += s.nats;
      }
    }
  }

  // The token at this place of the text is predicted, once.
  void count(size_t place, int32_t token) {
    if (predicted_.empty()) return;
    require(text_.tokens[place] == token && !predicted_[place], "token {} is scored twice, or in another's place",
            place);
    predicted_[place] = 1;
  }
  void add_unscored(EvalResult& r) const {
    const auto read = static_cast<size_t>(plan_.inputs() + objective_.scored_ahead());
    for (size_t i = 0; i < predicted_.size(); ++i) {
      if (predicted_[i]) continue;
      Counted& c = i < read ? r.context_only : r.unread;
      c.tokens += 1;
      c.bytes += tokenizer_.bytes_of(text_.tokens[i]);
    }
  }

  // Fills the scores of the windows of one task, which are of one length T.
  void score(int64_t number, State* state) {
    const EvalPlan::Task task = plan_.task(number);
    const BufferPool::Lending lending(model_.trains_otherwise());  // tokens that layers choose, more or fewer
    const int64_t rows = task.last - task.first, tokens = plan_.window(task.first).length();
    Batch batch = batch_for(rows, tokens);
    for (int64_t i = task.first; i < task.last; ++i) {
      const Window w = plan_.window(i);
      objective_.cut({.text = text_.tokens,
                      .begin = w.begin,
                      .end = w.end,
                      .scored = w.scored,
                      .document_starts = options_.reset_documents ? &text_.document_starts : nullptr,
                      .labels = text_.labels},
                     batch);
      const auto targets = std::span(batch.targets).last(static_cast<size_t>(tokens));
      for (size_t t = 0; t < targets.size(); ++t) {
        if (targets[t] == kIgnoredTarget) continue;
        scores_[static_cast<size_t>(i)] +=
            {.tokens = 1, .bytes = tokenizer_.bytes_of(targets[t]), .characters = tokenizer_.characters_of(targets[t])};
        count(static_cast<size_t>(w.begin + objective_.scored_ahead()) + t, targets[t]);
      }
    }
    Ledger ledger = measured_.empty();
    std::vector<RowScore> found = objective_.score(model_, batch.rows(0, rows),
                                                   {.state = state,
                                                    .first = task.first,
                                                    .samples = std::max<int64_t>(1, options_.bound_samples),
                                                    .seed = options_.seed,
                                                    .left_to_right = options_.left_to_right,
                                                    .each_alone = options_.each_alone,
                                                    .training_choice = options_.training_choice,
                                                    .ledger = options_.training_choice ? &ledger : nullptr,
                                                    .by_exit = options_.by_exit,
                                                    .count_right = !text_.samples.empty(),
                                                    .each_token = by_context_.wanted()});
    measured_.add(number, std::move(ledger));
    for (size_t i = 0; i < found.size(); ++i) {
      Score& s = scores_[static_cast<size_t>(task.first) + i];
      s.nats = found[i].nats;
      s.variance = found[i].variance;
      s.right = found[i].right;
      if (by_context_.wanted()) add_to_bands(task.first + static_cast<int64_t>(i), batch, i, found[i].token_nats);
      if (!exits_.empty()) exits_[static_cast<size_t>(task.first) + i] = std::move(found[i]);
    }
  }

  // Targets of a row, of whose last ones these are the nats.
  void add_to_bands(int64_t number, const Batch& batch, size_t row, std::span<const double> nats) {
    const Window w = plan_.window(number);
    const std::span targets = std::span(batch.targets)
                                  .subspan(row * static_cast<size_t>(batch.tokens), static_cast<size_t>(batch.tokens))
                                  .last(nats.size());
    for (size_t t = 0; t < targets.size(); ++t) {
      if (targets[t] == kIgnoredTarget) continue;
      const int64_t input = w.end - static_cast<int64_t>(targets.size() - t);  // the last token that it is given
      by_context_.add(static_cast<size_t>(number), input + 1 - context_begin(w, input), nats[t],
                      tokenizer_.bytes_of(targets[t]), tokenizer_.characters_of(targets[t]));
    }
  }
  // The first token that the model is given when it reads this one.
  int64_t context_begin(const Window& w, int64_t input) const {
    const int64_t begin = plan_.carried() ? 0 : w.begin;
    const auto& starts = text_.document_starts;
    if (!options_.reset_documents || starts.empty()) return begin;
    const auto next = std::ranges::upper_bound(starts, input);
    return next == starts.begin() ? begin : std::max(begin, *(next - 1));
  }

  const LanguageModel& model_;
  const Objective& objective_;
  const TokenizedText& text_;
  const Tokenizer& tokenizer_;
  const EvalOptions& options_;
  EvalPlan plan_;
  std::vector<Score> scores_;  // one a window
  TaskLedgers measured_;
  std::vector<RowScore> exits_;  // one a window, where they are asked for
  ContextTable by_context_;
  std::vector<uint8_t> predicted_;  // of each token of the text whether it was; of a task empty
};

}  // namespace

EvalResult EvalResult::at_exit(size_t after) const {
  EvalResult r = *this;
  r.nats = exits.at(after - 1).nats;
  r.stderr_nats = std::nan("");
  return r;
}
double EvalResult::agreement(size_t after) const {
  return static_cast<double>(exits.at(after - 1).agrees) / static_cast<double>(predictions);
}
double EvalResult::layers_needed() const { return static_cast<double>(settled) / static_cast<double>(predictions); }

double EvalResult::bits_per_char() const {
  return characters ? nats / std::numbers::ln2 / static_cast<double>(characters) : std::nan("");
}
double EvalResult::bits_per_byte() const {
  return kind == TextKind::symbols ? std::nan("") : nats / std::numbers::ln2 / static_cast<double>(bytes);
}
double EvalResult::bits() const {
  if (kind == TextKind::symbols) return nats_per_token() / std::numbers::ln2;
  return kind == TextKind::bytes ? bits_per_byte() : bits_per_char();
}
double EvalResult::perplexity() const { return std::exp(nats_per_token()); }

std::vector<Measured> EvalResult::measured() const {
  const LossMetrics& m = bound ? kBoundMetrics : given_rest ? kMissingMetrics : kLossMetrics;
  std::vector<Measured> all = {m.loss(nats_per_token()),         m.bits_per_character(bits_per_char()),
                               m.bits_per_byte(bits_per_byte()), (bound ? kPerplexityBound : kPerplexity)(perplexity()),
                               kStandardError(stderr_nats),      kScoredTokens(static_cast<double>(tokens))};
  if (kind == TextKind::bytes) all.erase(all.begin() + 1);
  if (kind == TextKind::symbols) {
    all.erase(all.begin() + 1, all.begin() + 3);
    all.insert(all.begin() + 1, {kAccuracy(answers.accuracy()), kSampleAccuracy(answers.sample_accuracy())});
  }
  if (bound) all.push_back(kBoundError(bound_stderr));
  return all;
}

bool scores_again(const Objective& objective, const EvalOptions& o) {
  return objective.given_rest() && stride_of(o) < o.tokens;
}

void require_options(const LanguageModel& model, const Objective& objective, const Tokenizer& tokenizer,
                     const EvalOptions& o) {
  if (o.tokens < 1 || o.batch < 1 || o.max_tokens < 0)
    throw ConfigError(
        "evaluation with tokens {}, batch {}, max_tokens {}: tokens and batch must be at least 1, max_tokens at least "
        "0",
        o.tokens, o.batch, o.max_tokens);
  o.protocol.build()->require(o.tokens);
  if (scores_again(objective, o))
    throw ConfigError(
        "windows that overlap would take tokens out of a text that others have scored: choose `windows`, or a stride "
        "of {}",
        o.tokens);
  if (o.by_exit && objective.bound())
    throw ConfigError(
        "a bound is of a whole model: exits are compared of objectives that predict from left to right; "
        "score the model that ends after one layer instead");
  if (!o.context_bands.empty() && !objective.scores_tokens())
    throw ConfigError(
        "what a token costs by its place is told of objectives that predict the tokens of a text from left to right, "
        "one after the other; this one does not: leave the loss by position out");
  const int64_t longest = model.config().longest_row();
  const bool learned = longest < std::numeric_limits<int64_t>::max();
  if (!model.config().carries() && o.protocol.info().carried)
    throw ConfigError(
        "rows of this objective are predicted as a whole, and evaluation carries no state from one to the next: choose "
        "`windows` or `sliding`");
  if (model.has_encoder() && o.protocol.info().carried)
    throw ConfigError(
        "the model begins each window with its encoder, and carries no state: choose `windows` or "
        "`sliding`");
  if (learned && o.protocol.info().carried)
    throw ConfigError(
        "a model with learned positions for {} can't be carried over a whole split; choose `windows` or "
        "`sliding` with at most {}",
        counted(longest, "token"), counted(longest, "token"));
  if (o.tokens > longest)
    throw ConfigError("windows of {}, but the model has learned positions for {}; choose at most {}",
                      counted(o.tokens, "token"), model.config().max_tokens, counted(longest, "token"));
  if (tokenizer.vocab_size() != model.vocab())
    throw ConfigError("a tokenizer of {} for a model of {}", counted(tokenizer.vocab_size(), "symbol"), model.vocab());
}

EvalOptions fitted(EvalOptions o, int64_t tokens, int64_t lookahead) {
  const int64_t targets = std::max<int64_t>(1, tokens - lookahead);
  if (o.max_tokens >= targets) o.max_tokens = 0;
  if (o.tokens <= targets) return o;
  o.tokens = targets;
  o.protocol = Choice(all_protocols, o.protocol.name());  // one window has no stride
  return o;
}

std::string describe(const EvalOptions& o) {
  std::string text = o.protocol.build()->describe(o.tokens);
  if (o.exit_layer) text += fmt::format(", exit after layer {}", o.exit_layer);
  if (o.reset_documents) text += ", reset at documents";
  if (o.left_to_right)
    text += ", left to right";
  else if (o.each_alone)
    text += ", each token given all others that it may see";
  else if (o.bound_samples)
    text += fmt::format(", a bound by {} of seed {}", counted(o.bound_samples, "draw"), o.seed);
  if (o.max_tokens) text += ", first " + counted(o.max_tokens, "target");
  return text;
}

std::string beyond_training(const LanguageModel& model, int64_t trained, const EvalOptions& o) {
  const bool carried = o.protocol.info().carried;
  if ((!carried && o.tokens <= trained) || !model.long_text(trained).unseen) return "";
  return fmt::format(
      "the model learned on {}, and has mechanisms that can't follow more than that: {} measures how they fail",
      trained < std::numeric_limits<int64_t>::max() ? counted(trained, "token") + " at a time"
                                                    : "states that were carried from step to step",
      carried ? "a carried state" : fmt::format("a window of {}", o.tokens));
}

EvalResult evaluate(const LanguageModel& model, const Objective& objective, const TokenizedText& text,
                    const Tokenizer& tokenizer, const EvalOptions& options,
                    const std::function<void(double)>& progress) {
  require_options(model, objective, tokenizer, options);
  const Activity activity("evaluating", "take shorter windows (eval.tokens, --tokens)");
  const Tape::Paused paused;
  const auto before = std::chrono::steady_clock::now();
  Evaluation evaluation(model, objective, text, tokenizer, options);
  evaluation.run(progress);
  EvalResult result = evaluation.summarise();
  require(!options.by_exit || !result.exits.empty(), "the objective gives no scores of exits, and is no bound");
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  return result;
}

}  // namespace effllm
