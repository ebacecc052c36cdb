// Ancestral sampling as kuleshov-group/discrete-diffusion-guidance@edb0f8c, diffusion.py, _compute_posterior, and
// dvruette/gidd@f67acc9, gidd/sampling.py, GiddSampler, with times from 1 to 0. Tokens are drawn in f64.
#include "decode/from_noise.h"

#include "base/random.h"
#include "objectives/corruption.h"

namespace effllm {

std::vector<double> earlier(const std::vector<double>& p, int32_t z, double p_uniform, double t, double s) {
  const CorruptionSchedule schedule(p_uniform);
  const Corruption late = schedule.at(t), early = schedule.at(s);
  const size_t vocab = p.size(), there = static_cast<size_t>(z);
  const auto n = static_cast<double>(vocab);
  const double stays = late.keep / early.keep;  // from s to t; what does not becomes noise
  const double arrives = there < vocab ? (late.random - stays * early.random) / n : late.mask - stays * early.mask;
  std::vector<double> all(vocab + (schedule.masks() ? 1 : 0));
  for (size_t j = 0; j < all.size(); ++j) {
    const double before = j < vocab ? early.keep * p[j] + early.random / n : early.mask;
    all[j] = (arrives + (j == there ? stays : 0)) * before;
  }
  return all;
}

void write_from_noise(const LanguageModel& model, std::vector<int32_t>& canvas, int64_t fresh, int64_t number,
                      int64_t steps, const SamplerOptions& sampler, int64_t sample) {
  const double p_uniform = *model.config().uniform;
  const bool masks = CorruptionSchedule(p_uniform).masks();
  const auto vocab = static_cast<uint64_t>(model.vocab());
  const size_t kept = canvas.size();
  std::vector<RandomStream> numbers;
  for (int64_t i = 0; i < fresh; ++i) {
    numbers.emplace_back(sampler.seed, "decode.noise", static_cast<uint64_t>(sample),
                         static_cast<uint64_t>(number + i));
    canvas.push_back(static_cast<int32_t>(masks ? vocab : numbers.back().below(0, vocab)));
  }
  for (int64_t step = 0; step < steps; ++step) {
    const double t = static_cast<double>(steps - step) / static_cast<double>(steps),
                 s = static_cast<double>(steps - step - 1) / static_cast<double>(steps);
    const Tensor logits =
        model.logits(Tensor::view_of(std::span(canvas), {1, static_cast<int64_t>(canvas.size())}), {});
    dispatch_float(logits.dtype(), [&]<class T>() {
      for (size_t i = 0; i < numbers.size(); ++i) {
        const std::span<const T> row(logits.view<T>().row(static_cast<int64_t>(kept + i)),
                                     static_cast<size_t>(logits.cols()));
        int32_t& z = canvas[kept + i];
        const std::vector<double> from = earlier(probabilities(row, sampler), z, p_uniform, t, s);
        double left = 0;
        for (const double w : from) left += w;
        left *= numbers[i].uniform(static_cast<uint64_t>(step + 1));
        for (size_t j = 0; j < from.size(); ++j) {
          if (from[j] <= 0) continue;
          z = static_cast<int32_t>(j);  // rounding may leave a rest above zero after the last one
          if ((left -= from[j]) < 0) break;
        }
      }
    });
  }
}

}  // namespace effllm
