#include "decode/draft.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "decode/reading.h"

namespace effllm {
namespace {

void check_direction(std::string_view whose, const ModelConfig& c) {
  if (!c.causal || c.block > 0)
    throw ConfigError(
        "{} predicts what noise hides, and no token from those before it alone: drafts are for models that continue a "
        "text from left to right",
        whose);
  if (c.encoder)
    throw ConfigError("{} has an encoder: drafts are for models that continue a text from left to right", whose);
}

class ModelDraft final : public Draft {
 public:
  ModelDraft(const DraftOptions& o, std::span<const int32_t> prompt, int64_t text, const SamplerOptions& sampler)
      : reading_(*o.model, o.context, text), sampler_(sampler) {
    reading_.read(prompt);
  }
  std::unique_ptr<Draft> branch() const override { return std::make_unique<ModelDraft>(*this); }

  std::vector<Drafted> propose(std::span<const int32_t> text, int64_t most, uint64_t sample, uint64_t index) override {
    const auto given = static_cast<std::ptrdiff_t>(given_);
    const auto stayed = std::mismatch(all_.begin() + given, all_.end(), text.begin() + given, text.end()).first;
    if (given_ > 0) reading_.rewind(stayed - all_.begin());
    all_.assign(text.begin(), text.end());
    given_ = text.size();
    std::vector<Drafted> drafted;
    for (int64_t i = 0; i < most; ++i) {
      if (i == 0)
        reading_.mark_alone();
      else if (reading_.room(static_cast<int64_t>(all_.size())) < 0)
        break;  // what began anew here could not be taken back
      else
        reading_.mark();
      reading_.read(all_);
      std::vector<double> q = reading_.probabilities(0, sampler_);
      const RandomStream numbers(sampler_.seed, "decode.draft", sample, index + static_cast<uint64_t>(i));
      all_.push_back(draw(q, numbers.uniform(0)));
      drafted.push_back({all_.back(), std::move(q)});
    }
    return drafted;
  }

 private:
  Reading reading_;
  SamplerOptions sampler_;
  std::vector<int32_t> all_;  // the text that was given last, and what was drafted after it
  size_t given_ = 0;          // tokens of the former
};

}  // namespace

void check(const DraftOptions& o, const LanguageModel& target) {
  if (o.tokens < 1) throw ConfigError("{} tokens to draft: at least one is needed", o.tokens);
  check_direction("the model", target.config());
  if (!o.model) return;
  check_direction("the draft", o.model->config());
  if (o.model->vocab() != target.vocab())
    throw ConfigError("the draft knows {}, the model {}: they must have the same vocabulary",
                      counted(o.model->vocab(), "token"), counted(target.vocab(), "token"));
}

std::unique_ptr<Draft> draft_by_model(const DraftOptions& options, std::span<const int32_t> prompt, int64_t text,
                                      const SamplerOptions& sampler) {
  return std::make_unique<ModelDraft>(options, prompt, text, sampler);
}

}  // namespace effllm
