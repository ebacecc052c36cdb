#include "train/memory_refusal.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "base/limits.h"
#include "base/text.h"
#include "kernels/parallel.h"
#include "train/rehearsal.h"

namespace effllm {
namespace {

constexpr double kMostOfLimit = 0.9;  // the rest is for what nobody counts

struct Taker {
  double bytes = 0;
  std::string layer = {};  // "layer 3 of the encoder"
  const Choice<LayerInfo>* part = nullptr;
};

constexpr std::string_view kLayers[] = {"layers.", "encoder.layers."};

// "encoder.layers.3.mixer" of "encoder.layers.3.mixer.qkv.weight"; empty of what is no part of a layer.
std::string part_of(std::string_view name) {
  for (const std::string_view start : kLayers)
    if (name.starts_with(start)) return std::string(name.substr(0, name.find('.', name.find('.', start.size()) + 1)));
  return "";
}

// The part of a block, a mixer or a channel mixer, that takes the most: its parameters in all slabs, and what it keeps
// for backward.
Taker heaviest(const RunConfig& c, int64_t vocab) {
  const auto model = model_on_shapes(c.model, vocab);
  Rehearsal r(c, *model);
  std::map<std::string, double> taken;  // by site: "layers.3.mixer"
  for (const Parameter* p : r.model().params().sorted())
    taken[part_of(p->name)] += 4 * numbers_of(*p, c.optim.type, r.plan().lanes.size());
  size_t before = BufferPool::local().live_bytes();
  const Taps watch = [&](std::string_view name, const Tensor& value) {
    const size_t now = BufferPool::local().live_bytes();
    if (name.ends_with(".out") && (name.starts_with(kLayers[0]) || name.starts_with(kLayers[1])))
      taken[std::string(name.substr(0, name.size() - 4))] += static_cast<double>(now) - static_cast<double>(before);
    before = now;
    return value;
  };
  r.step(&watch);
  Taker most;
  const auto look = [&](const std::vector<LayerSpec>& layers, std::string_view start, std::string_view where) {
    for (size_t i = 0; i < layers.size(); ++i)
      for (const auto& part : parts(layers[i].block)) {
        const auto found = taken.find(fmt::format("{}{}.{}", start, i, part.field));
        if (found != taken.end() && found->second > most.bytes)
          most = {found->second, fmt::format("layer {}{}", i, where), part.choice};
      }
  };
  look(c.model.layers, kLayers[0], "");
  if (c.model.encoder) look(c.model.encoder->layers, kLayers[1], " of the encoder");
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
    if (t.part && (2 * t.bytes > plan.total() || where.line == 0)) {
      where = t.part->mark();
      who = fmt::format("; `{}` of {} takes {} in a step", t.part->name(), t.layer, human_bytes(t.bytes));
    }
  }
  throw MemoryError(
      located(where, fmt::format("training would need about {}, more than nine tenths of {}: {}{}; lower {}{}",
                                 human_bytes(plan.total()), human_bytes(limit), list, who,
                                 who.empty() ? "" : "its sizes, or ", parts[0].remedy)));
}

void require_evaluation(const RunConfig& c, int64_t vocab, const EvalOptions& options, int64_t tokens) {
  if (options.tokens < 1 || options.batch < 1 || options.max_tokens < 0) return;  // refused later
  const double need = evaluation_bytes(c, vocab, options, tokens, threads());
  if (const double have = memory_limit(); need > kMostOfLimit * have)
    throw MemoryError(
        "evaluation by {} would need about {}, more than nine tenths of {}: take shorter windows (--tokens)",
        describe(options), human_bytes(need), human_bytes(have));
}

void require_samples(const RunConfig& c, int64_t vocab, int64_t prompt, int64_t tokens, const ContextLimit& limit) {
  if (static_cast<double>(tokens) > kMostTokens)
    throw ConfigError("{} tokens to generate: at most {:.0f} can be asked for", tokens, kMostTokens);
  const double need = sample_bytes(c, vocab, prompt, tokens, limit);
  if (const double have = memory_limit(); need > kMostOfLimit * have)
    throw MemoryError(
        "{} after a prompt of {} would need about {}, more than nine tenths of {}: generate fewer (--tokens)",
        counted(tokens, "token"), prompt, human_bytes(need), human_bytes(have));
}

}  // namespace effllm
