#include "train/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/limits.h"
#include "base/text.h"
#include "decode/context_limit.h"
#include "eval/evaluator.h"
#include "kernels/parallel.h"
#include "model/language_model.h"
#include "nn/transposed.h"
#include "ops/loss.h"
#include "train/shards.h"
#include "train/trainer.h"

namespace effllm {
namespace {

// What the process holds before it has a model: code, libraries and what they compile at run time; a run has HDF5 and
// every kind of product too.
constexpr double kProgram = 28e6, kRun = 36e6;
constexpr double kHugePage = 2 << 20;
constexpr double kMostOfLimit = 0.9;  // the rest is for what nobody counts

// A slab's bytes as the system gives them: large ones are whole huge pages.
double slab_bytes(double bytes) { return bytes >= kHugePage ? std::ceil(bytes / kHugePage) * kHugePage : bytes; }

// Runs f as a worker would, whose ops are sequential, or as the thread that leaves all others to the ops.
template <class F>
void as_worker(bool worker, F&& f) {
  worker ? run_workers(1, [&](int) { f(); }) : f();
}

// A model on shapes, and the pool of one thread that all of it runs on: what the pool has handed out once it keeps. One
// at a time counts.
class Rehearsal {
 public:
  // carried: tokens that the rows' states have room for, where train.carry_state keeps them.
  Rehearsal(const RunConfig& config, int64_t vocab, int64_t carried = 0)
      : config_(config),
        model_(config.model, vocab),
        plan_(make_plan()),
        pool_(BufferPool::local()),
        carried_(carried) {
    pool_.forget_meta();
  }
  ~Rehearsal() { pool_.forget_meta(); }
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  const ShardPlan& plan() const { return plan_; }
  LanguageModel& model() { return model_; }
  double taken() const { return static_cast<double>(pool_.meta_reserved_bytes()); }

  // Forward and backward of the shards of every size that the plan has.
  void step(const Taps* taps = nullptr) {
    std::set<int64_t> sizes;
    for (const auto& lane : plan_.lanes)
      for (const Shard& s : lane) sizes.insert(s.sequences);
    as_worker(plan_.lanes.size() > 1, [&] {
      for (int64_t sequences : sizes) shard(sequences, taps);
    });
  }

  // A batch of windows, or with a state a chunk of a text of `room` tokens.
  void evaluate(int64_t windows, int64_t tokens, int64_t room, bool worker) {
    as_worker(worker, [&] {
      const MetaMode meta;
      ModelState state;
      if (room > 0) state = model_.make_state(windows, room);
      const Tensor logits =
          model_.logits(Tensor::dense({windows, tokens}, DType::i32), {}, room > 0 ? &state : nullptr);
      cross_entropy(logits.row_range(0, {tokens, model_.vocab()}), Tensor::dense({tokens}, DType::i32), 1);
    });
  }

  // A prompt, read in pieces, and a token after it; the state of the prompt is kept beside that of the text.
  void sample(int64_t prompt, int64_t tokens, const ContextLimit& limit) {
    const MetaMode meta;
    Context cx;
    int64_t room = std::min(prompt + tokens, model_.longest());
    if (limit.tokens > 0) room = std::min(room, limit.tokens);
    if (!limit.anew) cx.reach = limit.tokens;
    prompt = std::clamp<int64_t>(prompt, 1, std::max<int64_t>(1, limit.anew ? room : model_.longest()));
    ModelState state = model_.make_state(1, room);
    constexpr int64_t kPiece = 256;
    for (int64_t n : {std::min(prompt, kPiece), prompt % kPiece})
      if (n > 0) model_.logits(Tensor::dense({1, n}, DType::i32), cx, &state);
    ModelState own = state.clone();
    model_.step(Tensor::dense({1, 1}, DType::i32), own, cx);
  }

 private:
  ShardPlan make_plan() {
    model_.params().as_meta(DType::f32);
    return plan_shards(config_.train, model_);
  }

  void shard(int64_t sequences, const Taps* taps) {
    const MetaMode meta;
    Tape tape;
    Context cx;
    cx.phase = Phase::train;
    cx.taps = taps;
    const Tensor ids = Tensor::dense({sequences, config_.train.context}, DType::i32);
    ModelState state;
    if (carried_ > 0) state = model_.make_state(sequences, carried_);
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      loss = model_.loss(ids, ids, 1, cx, carried_ > 0 ? &state : nullptr);
    }
    tape.backward(loss, Tensor::dense({1}, DType::f64));
  }

  const RunConfig& config_;
  LanguageModel model_;
  ShardPlan plan_;
  BufferPool& pool_;
  int64_t carried_;
};

// Slabs for one parameter element: value, two moments, a gradient of each lane.
double slabs(const ShardPlan& plan) { return 3 + static_cast<double>(plan.lanes.size()); }

double weight_bytes(const RunConfig& config, Rehearsal& r) {
  const ParamStore& params = r.model().params();
  double transposed = 0;
  if (TransposedWeights::pay(config.train.batch * config.train.context))
    for (const Parameter* p : params.sorted()) transposed += p->traits.dense ? static_cast<double>(p->extent) : 0;
  return slabs(r.plan()) * slab_bytes(4 * static_cast<double>(params.slab_elements())) + slab_bytes(4 * transposed);
}

struct Evaluated {
  int64_t windows, tokens, rest_windows, rest_tokens;  // of a batch; of what is left over, 0 where nothing is
  int64_t room;                                        // tokens of a carried state; 0: none
  int64_t all, workers;
};

// How evaluate() cuts up a split of so many tokens; 0: of one batch of whole windows.
Evaluated evaluated(const EvalOptions& o, int64_t tokens, int workers) {
  int64_t inputs = tokens > 1 ? tokens - 1 : o.tokens * o.batch;
  if (o.max_tokens > 0) inputs = std::min(inputs, o.max_tokens);
  const int64_t length = std::min(o.tokens, inputs), chunks = (inputs + length - 1) / length;
  if (o.protocol == "carried") return {1, length, inputs % length ? 1 : 0, inputs % length, inputs, chunks, 1};
  const int64_t stride = o.protocol == "sliding" ? o.stride ? o.stride : std::max<int64_t>(1, o.tokens / 2) : o.tokens;
  const int64_t full = (inputs - length) / stride + 1, last = inputs - full * stride;  // tokens of a shorter last one
  const int64_t batch = std::min(o.batch, full);
  return {batch,
          length,
          full % batch,
          std::max<int64_t>(0, last),
          0,
          full + 1,
          std::clamp<int64_t>((full + batch - 1) / batch, 1, workers)};
}

// On top of what the rehearsal has taken: on each of the workers a batch, on one of them what is left over, and beside
// the pools the windows' tokens and scores.
double evaluation_bytes(Rehearsal& r, const Evaluated& e) {
  const double before = r.taken();
  r.evaluate(e.windows, e.tokens, e.room, e.workers > 1);
  const double batch = r.taken() - before;
  if (e.rest_windows > 0 && e.room == 0) r.evaluate(e.rest_windows, e.tokens, 0, e.workers > 1);
  if (e.rest_tokens > 0) r.evaluate(1, e.rest_tokens, e.room, e.workers > 1);
  const double tokens = 16 * static_cast<double>(e.windows) * static_cast<double>(e.tokens);
  return static_cast<double>(e.workers) * (batch + tokens) + (r.taken() - before - batch) +
         72 * static_cast<double>(e.all);
}

}  // namespace

double MemoryPlan::total() const {
  double all = 0;
  for (const MemoryPart& p : parts) all += p.bytes;
  return all;
}

int64_t carried_tokens(const RunConfig& c, int64_t train_tokens) {
  return train_tokens > 0 ? std::max(c.train.context, train_tokens / c.train.batch) : static_cast<int64_t>(kMostTokens);
}

double step_bytes(const RunConfig& config, int64_t vocab, int workers) {
  Rehearsal r(config, vocab);
  r.step();
  return kProgram + weight_bytes(config, r) +
         std::min<double>(workers, static_cast<double>(r.plan().lanes.size())) * r.taken();
}

MemoryPlan plan_memory(const RunConfig& c, int64_t vocab, int workers, const TextSizes& text) {
  const int64_t room = c.train.carry_state ? carried_tokens(c, text.train_tokens) : 0;
  Rehearsal r(c, vocab, room);
  if (room > 0) require_carriable(r.model());
  const auto lanes = static_cast<int64_t>(r.plan().lanes.size()), trainers = std::min<int64_t>(workers, lanes);
  r.step();
  const double step = r.taken();
  const Evaluated e = evaluated(evaluation_of(c), text.eval_tokens, workers);
  double evaluation = evaluation_bytes(r, e);
  const double before = r.taken();
  r.sample(static_cast<int64_t>(c.eval.prompt.size()), c.eval.sample_tokens,
           context_limit(r.model(), trained_context(c)));
  const double samples = r.taken() - before;
  if (e.workers > trainers) {  // threads that only evaluate find nothing to use again
    Rehearsal alone(c, vocab);
    alone.evaluate(e.windows, e.tokens, e.room, true);
    evaluation += static_cast<double>(e.workers - trainers) * alone.taken();
  }
  const int64_t rows = c.train.batch;
  // What rows remember from step to step, and what they did before a step that may be left out.
  const double carried =
      room > 0 ? 2 * static_cast<double>(rows) * static_cast<double>(r.model().state_bytes(room)) : 0;
  const double batch = static_cast<double>(rows) * static_cast<double>(c.train.context) *
                       (c.data.reset == "document" ? 16 : 8);    // inputs, targets, documents
  return {{{"the program", kRun + 2 * kHugePage * workers, ""},  // pools begin pages that they do not fill
           {"weights, gradients and moments", weight_bytes(c, r), "model.d_model, the number of layers"},
           {"training steps", static_cast<double>(trainers) * step, "train.context, train.shard_tokens"},
           {"batches", batch, "train.batch, train.context"},
           {"carried states", carried, "train.batch, the windows of attention"},
           {"evaluation", evaluation, "eval.tokens, eval.max_tokens"},
           {"samples", samples, "eval.sample_tokens"},
           {"the corpus", static_cast<double>(text.bytes + 4 * (text.train_tokens + text.eval_tokens)), ""}}};
}

void require_evaluation(const RunConfig& c, int64_t vocab, const EvalOptions& options, int64_t tokens) {
  if (options.tokens < 1 || options.batch < 1 || options.stride < 0 || options.max_tokens < 0) return;  // refused later
  Rehearsal r(c, vocab);
  const double need = kRun + slab_bytes(4 * static_cast<double>(r.model().params().slab_elements())) +
                      evaluation_bytes(r, evaluated(options, tokens, threads()));
  if (const double have = memory_limit(); need > kMostOfLimit * have)
    throw MemoryError(
        "evaluation by {} would need about {}, more than nine tenths of {}: take shorter windows (--tokens)",
        describe(options), human_bytes(need), human_bytes(have));
}

void require_samples(const RunConfig& c, int64_t vocab, int64_t prompt, int64_t tokens, const ContextLimit& limit) {
  if (static_cast<double>(tokens) > kMostTokens)
    throw ConfigError("{} tokens to generate: at most {:.0f} can be asked for", tokens, kMostTokens);
  Rehearsal r(c, vocab);
  r.sample(prompt, tokens, limit);
  const double need = kRun + slab_bytes(4 * static_cast<double>(r.model().params().slab_elements())) + r.taken();
  if (const double have = memory_limit(); need > kMostOfLimit * have)
    throw MemoryError(
        "{} tokens after a prompt of {} would need about {}, more than nine tenths of {}: generate fewer (--tokens)",
        tokens, prompt, human_bytes(need), human_bytes(have));
}

namespace {

struct Taker {
  double bytes = 0;
  int64_t layer = -1;
  bool ffn = false;
};

// The mixer or channel mixer that takes the most: its parameters in all slabs, and what it keeps for backward.
Taker heaviest(const RunConfig& c, int64_t vocab) {
  Rehearsal r(c, vocab);
  std::map<std::string, double> taken;  // by site: "layers.3.mixer"
  for (const Parameter* p : r.model().params().sorted()) {
    const size_t end = p->name.find('.', p->name.find('.', p->name.find('.') + 1) + 1);
    if (p->name.starts_with("layers."))
      taken[p->name.substr(0, end)] += 4 * slabs(r.plan()) * static_cast<double>(p->extent);
  }
  size_t before = BufferPool::local().live_bytes();
  const Taps watch = [&](std::string_view name, const Tensor& value) {
    const size_t now = BufferPool::local().live_bytes();
    if (name.ends_with(".mixer.out") || name.ends_with(".ffn.out"))
      taken[std::string(name.substr(0, name.size() - 4))] += static_cast<double>(now) - static_cast<double>(before);
    before = now;
    return value;
  };
  r.step(&watch);
  Taker most;
  for (int64_t i = 0; i < r.model().layers(); ++i)
    for (const bool ffn : {false, true}) {
      const auto found = taken.find(fmt::format("layers.{}.{}", i, ffn ? "ffn" : "mixer"));
      if (found != taken.end() && found->second > most.bytes) most = {found->second, i, ffn};
    }
  return most;
}

}  // namespace

void require_memory(const RunConfig& c, int64_t vocab, const MemoryPlan& plan, double limit) {
  if (plan.total() <= kMostOfLimit * limit) return;
  std::vector<MemoryPart> parts = plan.parts;
  std::ranges::sort(parts, std::ranges::greater(), &MemoryPart::bytes);
  std::string list;
  for (size_t i = 0; i < 3; ++i)
    list += fmt::format("{}{} {}", i ? ", " : "", parts[i].what, human_bytes(parts[i].bytes));
  const std::string_view most = parts[0].what;
  Mark where = most == "evaluation" || most == "samples" ? c.eval.mark : c.train.mark;
  std::string who;
  const bool of_model = most == "weights, gradients and moments" || most == "training steps";
  if (of_model || where.line == 0) {
    const Taker t = heaviest(c, vocab);
    if (t.layer >= 0 && (2 * t.bytes > plan.total() || where.line == 0)) {
      const LayerSpec& layer = c.model.layers[static_cast<size_t>(t.layer)];
      const ConfigNode& part = t.ffn ? layer.ffn : layer.mixer;
      where = part.mark();
      who = fmt::format("; `{}` of layer {} takes {} in a step", part.type(), t.layer, human_bytes(t.bytes));
    }
  }
  throw MemoryError(
      located(where, fmt::format("training would need about {}, more than nine tenths of {}: {}{}; lower {}{}",
                                 human_bytes(plan.total()), human_bytes(limit), list, who,
                                 who.empty() ? "" : "its sizes, or ", parts[0].remedy)));
}

}  // namespace effllm
