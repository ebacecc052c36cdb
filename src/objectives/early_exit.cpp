#include "objectives/early_exit.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "ops/arithmetic.h"

namespace effllm {
namespace {

constexpr Metric kExitLoss{"exit_loss", "nats/token", "cross entropy of the model that ends after this layer"};
constexpr int64_t kFewest = 3;  // layers: the first has no weight, and the last is no exit

// y, whose gradient it has, with another value.
Tensor shown_as(const Tensor& y, double factor) {
  const Tensor rest = Tensor::dense({1}, DType::f64);
  if (!rest.is_meta()) *rest.data<double>() = (factor - 1) * *y.data<double>();
  return add(y, rest);
}

}  // namespace

void EarlyExitOptions::visit(OptionVisitor& v) {
  v("scale", scale,
    "Scales the losses of exits after earlier layers beside that of the last (LayerSkip: 0.1 to 1); 0: none.",
    between(0, 1));
  v("curriculum", curriculum,
    "Chooses the exits of a step: all, every R-th in rotation, or more and more from the last layer to the first over "
    "half the run.",
    {"none", "rotational", "gradual"});
  v("every", every,
    "Sets R, the distance between the exits of a step in rotation; default: one less than there are "
    "layers.",
    between(1, 10000));
}

EarlyExit::EarlyExit(const EarlyExitOptions& o)
    : mark_(o.mark),
      scale_(o.scale),
      rotates_(o.curriculum == "rotational"),
      grows_(o.curriculum == "gradual"),
      every_(o.every) {
  if (o.every && !rotates_)
    throw_at(o.mark, "objective.early_exit.every belongs to curriculum: rotational; the others have no such distance");
  if (none() && (rotates_ || grows_))
    throw_at(o.mark, fmt::format("objective.early_exit.curriculum: {} does nothing with scale: 0, which has no exits; "
                                 "give a scale above 0 (LayerSkip: 0.1 to 1)",
                                 o.curriculum));
}

void EarlyExit::require_layers(int64_t layers) const {
  if (!none() && layers < kFewest)
    throw_at(mark_, fmt::format("objective.early_exit does nothing in a model of {}: the first has no weight, the last "
                                "is the model's own; leave it out, or take {} layers",
                                counted(layers, "layer"), kFewest));
}

int64_t EarlyExit::every(int64_t layers) const { return every_.value_or(std::max<int64_t>(1, layers - 1)); }

bool EarlyExit::on(int64_t layer, int64_t layers, int64_t step, double progress) const {
  if (layer == layers - 1) return true;
  if (grows_) return progress >= static_cast<double>(layers - layer) / static_cast<double>(2 * layers);
  if (!rotates_) return true;
  const int64_t before = ((layer - step) % layers + layers) % layers;  // where it was at step 0
  return before % every(layers) == 0;
}

std::vector<double> EarlyExit::weights(int64_t layers, int64_t step, double progress) const {
  std::vector<double> e;
  double below = 0, total = 0;  // 0 + 1 + .. + l
  for (int64_t l = 0; l < layers; ++l) {
    const bool last = l == layers - 1;
    if (!last) below += static_cast<double>(l);
    const double own = scale_ * below + (last ? static_cast<double>(layers - 1) : 0);
    e.push_back(on(l, layers, step, progress) ? own : 0);
    total += e.back();
  }
  if (total == 0) return e.back() = 1, e;  // a model of one layer
  for (double& w : e) w /= total;
  return e;
}

int64_t EarlyExit::exits_at(int64_t layers, int64_t step, double progress) const {
  const std::vector<double> w = weights(layers, step, progress);
  return std::count_if(w.begin(), w.end() - 1, [](double e) { return e > 0; });
}

int64_t EarlyExit::fullest_step(int64_t layers) const {
  int64_t fullest = 0;
  for (int64_t step = 1; rotates_ && step < layers; ++step)
    if (exits_at(layers, step, 1) > exits_at(layers, fullest, 1)) fullest = step;
  return fullest;
}

int64_t EarlyExit::most_exits(int64_t layers) const {
  return none() || layers < kFewest ? 0 : exits_at(layers, fullest_step(layers), 1);
}

double EarlyExit::mean_exits(int64_t layers) const {
  if (none() || layers < kFewest) return 0;
  double sum = 0;
  for (int64_t l = 1; l < layers - 1; ++l)
    if (rotates_)
      for (int64_t step = 0; step < layers; ++step) sum += on(l, layers, step, 0) / static_cast<double>(layers);
    else
      sum += grows_ ? 1 - static_cast<double>(layers - l) / static_cast<double>(2 * layers) : 1;
  return sum;
}

LossAndSquares EarlyExit::loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& with,
                               State* state, double z_weight) const {
  const int64_t layers = model.layers();
  const std::vector<double> w =
      rows.inputs.is_meta() ? weights(layers, fullest_step(layers), 1) : weights(layers, with.step, with.progress);
  const Tensor x = model.body(rows.inputs, with, state, [&](int64_t after, const Tensor& y) {
    const int64_t l = after - 1;
    if (l == layers - 1) return;
    const Call call(with, model.layer_site(l));
    if (w[static_cast<size_t>(l)] > 0)
      call.loss(kExitLoss, model.head_loss(y, rows.targets, 1).loss, w[static_cast<size_t>(l)], Ledger::Per::target);
    else if (rows.inputs.is_meta() && l > 0 && !none())
      call.mean(kExitLoss, 0);  // other steps have it: the name is known before the first
  });
  LossAndSquares y = model.head_loss(x, rows.targets, weight * w.back(), z_weight);
  if (w.back() != 1) y.loss = shown_as(y.loss, 1 / w.back());
  return y;
}

}  // namespace effllm
