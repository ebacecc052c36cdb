// Ancestral sampling: Sahoo et al. 2024, arXiv:2406.07524, as kuleshov-group/mdlm@c112c52, diffusion.py,
// _ddpm_caching_update, to t = 0; the confident choice, and blocks from left to right with those after them masked: Nie
// et al. 2025, arXiv:2502.09992, as ML-GSAI/LLaDA@b7e6c35, generate.py. Tokens are drawn in f64.
#include "decode/denoise.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"

namespace effllm {
namespace {

class Denoiser {
 public:
  Denoiser(const LanguageModel& model, int64_t tokens, const DenoiseOptions& o, const SamplerOptions& sampler,
           int64_t sample)
      : model_(model), tokens_(tokens), options_(o), sampler_(sampler), sample_(static_cast<uint64_t>(sample)) {}

  // Fills the block [begin, end) of `canvas`, all of it masked, whose first is new token `number`.
  void fill(std::vector<int32_t>& canvas, int64_t begin, int64_t end, int64_t number) const {
    std::vector<int64_t> masked;
    for (int64_t i = begin; i < end; ++i) masked.push_back(i);
    const auto length = static_cast<int64_t>(masked.size());
    int64_t steps = options_.steps.value_or(length);
    if (options_.confident) steps = std::min(steps, length);
    for (int64_t step = 0; step < steps; ++step) {
      std::vector<int64_t> rest, chosen;
      if (!options_.confident) {
        for (const int64_t i : masked) (leaves(number + i - begin, step, steps) ? chosen : rest).push_back(i);
        if (chosen.empty()) continue;
      }
      const Tensor logits =
          model_.logits(Tensor::view_of(std::span(canvas), {1, static_cast<int64_t>(canvas.size())}), {});
      const auto draw = [&](int64_t i) { return static_cast<uint64_t>(step * tokens_ + number + i - begin); };
      if (!options_.confident) {
        for (const int64_t i : chosen) canvas[static_cast<size_t>(i)] = token(logits, i, draw(i)).id;
      } else {
        std::vector<Drawn> all;
        for (const int64_t i : masked) all.push_back(token(logits, i, draw(i)));
        std::ranges::stable_sort(all, std::ranges::greater(), &Drawn::probability);
        const auto count = static_cast<size_t>(length / steps + (step < length % steps));
        for (size_t i = 0; i < count; ++i) canvas[static_cast<size_t>(all[i].place)] = all[i].id;
        for (size_t i = count; i < all.size(); ++i) rest.push_back(all[i].place);
        std::ranges::sort(rest);
      }
      masked = std::move(rest);
    }
  }

 private:
  struct Drawn {
    int64_t place;
    int32_t id;
    double probability;  // to the model, whatever the sampler makes of it
  };

  // Whether a token that is masked at time 1 - step / steps no longer is one step later.
  bool leaves(int64_t number, int64_t step, int64_t steps) const {
    const RandomStream numbers(sampler_.seed, "decode.unmask", sample_, static_cast<uint64_t>(number));
    return numbers.uniform(static_cast<uint64_t>(step)) * static_cast<double>(steps - step) < 1;
  }
  Drawn token(const Tensor& logits, int64_t place, uint64_t draw) const {
    return dispatch_float(logits.dtype(), [&]<class T>() -> Drawn {
      const std::span<const T> row(logits.view<T>().row(place), static_cast<size_t>(logits.cols()));
      const int32_t id = effllm::sample(row, sampler_, sample_, draw);
      return {place, id, options_.confident ? probabilities(row, {})[static_cast<size_t>(id)] : 0};
    });
  }

  const LanguageModel& model_;
  const int64_t tokens_;
  const DenoiseOptions& options_;
  const SamplerOptions& sampler_;
  const uint64_t sample_;
};

}  // namespace

void check(const DenoiseOptions& o) {
  if (o.steps && *o.steps < 1) throw ConfigError("{} steps for a block: at least one is needed", *o.steps);
  if (o.block && *o.block < 1) throw ConfigError("blocks of {} tokens: at least one is needed", *o.block);
}

void denoise(const LanguageModel& model, std::vector<int32_t> text, int64_t tokens, const DenoiseOptions& options,
             const SamplerOptions& sampler, const ContextLimit& limit, int64_t sample,
             const std::function<bool(std::span<const int32_t>)>& on_block) {
  const Denoiser denoiser(model, tokens, options, sampler, sample);
  for (int64_t done = 0; done < tokens;) {
    const int64_t left = tokens - done, known = static_cast<int64_t>(text.size());
    const int64_t room = limit.tokens ? limit.tokens : known + left;
    const int64_t kept = std::min(known, std::max(room - left, room / 2)), fresh = std::min(left, room - kept);
    std::vector<int32_t> canvas(text.end() - kept, text.end());
    canvas.resize(static_cast<size_t>(kept + fresh), static_cast<int32_t>(model.vocab()));
    for (int64_t begin = kept, end; begin < kept + fresh; begin = end) {
      end = std::min(begin + options.block.value_or(fresh), kept + fresh);
      denoiser.fill(canvas, begin, end, done);
      done += end - begin;
      if (!on_block(std::span(canvas).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)))) return;
    }
    text.insert(text.end(), canvas.begin() + kept, canvas.end());
  }
}

}  // namespace effllm
