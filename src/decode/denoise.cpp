// Ancestral sampling: Sahoo et al. 2024, arXiv:2406.07524, as kuleshov-group/mdlm@c112c52, diffusion.py,
// _ddpm_caching_update, to t = 0; the confident choice, and blocks from left to right with those after them masked: Nie
// et al. 2025, arXiv:2502.09992, as ML-GSAI/LLaDA@b7e6c35, generate.py; blocks with a state: Arriola et al. 2025,
// arXiv:2503.09573, as kuleshov-group/bd3lms@1c3e8f4, diffusion.py, _semi_ar_sampler. Tokens are drawn in f64.
#include "decode/denoise.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "decode/from_noise.h"
#include "decode/reading.h"

namespace effllm {
namespace {

class Denoiser {
 public:
  // drawn: new tokens of the text, and those after them that are drawn with them.
  Denoiser(int64_t drawn, const DenoiseOptions& o, const SamplerOptions& sampler, int64_t sample)
      : drawn_(drawn), options_(o), sampler_(sampler), sample_(static_cast<uint64_t>(sample)) {}

  // Fills the block [begin, end) of `canvas`, all of it masked, whose first is new token `number`; look() gives the
  // logits of the canvas.
  template <class F>
  void fill(std::vector<int32_t>& canvas, int64_t begin, int64_t end, int64_t number, F&& look) const {
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
      const Tensor logits = look();
      const auto draw = [&](int64_t i) { return static_cast<uint64_t>(step * drawn_ + number + i - begin); };
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

  const int64_t drawn_;
  const DenoiseOptions& options_;
  const SamplerOptions& sampler_;
  const uint64_t sample_;
};

Tensor row_of(const std::vector<int32_t>& ids) {
  return Tensor::view_of(std::span(ids), {1, static_cast<int64_t>(ids.size())});
}

// How much of a text there is room for: `kept` tokens of what is known, and `fresh` ones.
struct Room {
  int64_t kept, fresh;
};
Room share_out(int64_t room, int64_t known, int64_t left) {
  const int64_t kept = std::min(known, std::max(room - left, room / 2));
  return {kept, std::min(left, room - kept)};
}

// A state of the finished blocks; masked ones are seen by copies of it.
void write_blocks(const LanguageModel& model, std::vector<int32_t> text, int64_t tokens, const Denoiser& denoiser,
                  const ContextLimit& limit, const std::function<bool(std::span<const int32_t>)>& on_block) {
  const int64_t block = std::min(model.config().block, model.longest());
  const auto mask = static_cast<int32_t>(model.vocab());
  for (int64_t done = 0; done < tokens;) {
    const int64_t known = static_cast<int64_t>(text.size()), all = (known + tokens - done + block - 1) / block * block;
    const int64_t most = std::min(model.longest(), limit.tokens ? limit.tokens : all);
    const int64_t room = std::min(all, std::max(block, most / block * block));
    auto [kept, fresh] = share_out(room, known, tokens - done);
    State state = model.make_state(1, room);
    const auto read = [&](std::span<const int32_t> clean) {
      model.body(Tensor::view_of(clean, {1, static_cast<int64_t>(clean.size())}), {}, &state);
    };
    std::vector<int32_t> canvas(text.end() - kept, text.end());
    for (const int64_t piece = std::max<int64_t>(1, kPrefillPiece / block) * block;
         static_cast<int64_t>(canvas.size()) >= block;) {
      const int64_t n = std::min(piece, static_cast<int64_t>(canvas.size()) / block * block);
      read(std::span(canvas).first(static_cast<size_t>(n)));
      canvas.erase(canvas.begin(), canvas.begin() + n);
    }
    while (fresh > 0) {
      const auto begin = static_cast<int64_t>(canvas.size());
      canvas.resize(static_cast<size_t>(block), mask);
      denoiser.fill(canvas, begin, block, done, [&] {
        State own = state;
        return model.logits(row_of(canvas), {}, &own);
      });
      const int64_t wanted = std::min(fresh, block - begin);
      const auto written =
          std::span<const int32_t>(canvas).subspan(static_cast<size_t>(begin), static_cast<size_t>(wanted));
      text.insert(text.end(), written.begin(), written.end());
      if (!on_block(written)) return;
      done += wanted;
      fresh -= wanted;
      if (fresh > 0) read(canvas);
      canvas.clear();
    }
  }
}

}  // namespace

void check(const DenoiseOptions& o, const ModelConfig& model) {
  if (o.steps && *o.steps < 1) throw ConfigError("{} steps for a block: at least one is needed", *o.steps);
  if (o.block && *o.block < 1) throw ConfigError("blocks of {} tokens: at least one is needed", *o.block);
  if (model.block && o.block && *o.block != model.block)
    throw ConfigError("the model writes blocks of {}, as it was trained: leave --block out",
                      counted(model.block, "token"));
  if (model.uniform && (o.block || o.confident))
    throw ConfigError(
        "the model writes from random tokens, all of which are drawn again at each step: --block and --unmask are for "
        "models that predict masked tokens");
}

void denoise(const LanguageModel& model, std::vector<int32_t> text, int64_t tokens, const DenoiseOptions& options,
             const SamplerOptions& sampler, const ContextLimit& limit, int64_t sample,
             const std::function<bool(std::span<const int32_t>)>& on_block) {
  const int64_t beyond = std::max<int64_t>(0, model.config().block - 1);  // the rest of a block is thrown away
  const Denoiser denoiser(tokens + beyond, options, sampler, sample);
  if (model.config().block) return write_blocks(model, std::move(text), tokens, denoiser, limit, on_block);
  for (int64_t done = 0; done < tokens;) {
    const int64_t left = tokens - done, known = static_cast<int64_t>(text.size());
    const auto [kept, fresh] = share_out(limit.tokens ? limit.tokens : known + left, known, left);
    std::vector<int32_t> canvas(text.end() - kept, text.end());
    if (model.config().uniform) {
      write_from_noise(model, canvas, fresh, done, options.steps.value_or(fresh), sampler, sample);
      text.insert(text.end(), canvas.begin() + kept, canvas.end());
      done += fresh;
      if (!on_block(std::span(canvas).subspan(static_cast<size_t>(kept)))) return;
      continue;
    }
    canvas.resize(static_cast<size_t>(kept + fresh), static_cast<int32_t>(model.vocab()));
    for (int64_t begin = kept, end; begin < kept + fresh; begin = end) {
      end = std::min(begin + options.block.value_or(fresh), kept + fresh);
      denoiser.fill(canvas, begin, end, done, [&] { return model.logits(row_of(canvas), {}); });
      done += end - begin;
      if (!on_block(std::span(canvas).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)))) return;
    }
    text.insert(text.end(), canvas.begin() + kept, canvas.end());
  }
}

}  // namespace effllm
