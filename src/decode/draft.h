// Who proposes tokens that another model then checks several at a time.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "decode/context_limit.h"
#include "decode/sampler.h"
#include "model/language_model.h"

namespace effllm {

struct DraftOptions {
  const LanguageModel* model = nullptr;  // of any family, with the target's vocabulary, which outlives the texts
  ContextLimit context = {};             // of that model
  bool lookup = false;                   // in its place: what followed the text's last tokens before
  int64_t tokens = 4;                    // that are drafted at a time, at most
  bool given() const { return model || lookup; }
};

// ConfigError for numbers out of range, and where the models don't both continue a text from left to right, with
// neither encoder nor blocks, or have other vocabularies.
void check(const DraftOptions& draft, const LanguageModel& target);

// What became of drafted tokens.
struct DraftCounts {
  int64_t drafted = 0, checked = 0, accepted = 0;  // none is checked behind one that is not accepted
  int64_t tokens = 0, calls = 0, read = 0;         // written; runs of the target for them, and what these have read
};

struct Drafted {
  int32_t token;
  std::vector<double> q;  // [Q], that it was drawn from
};

class Draft {
 public:
  virtual ~Draft() = default;
  virtual std::unique_ptr<Draft> branch() const = 0;  // for another text that goes on from the same
  // Tokens that may follow a text, `most` at most, each drawn after those before it: of a sample, of which the first is
  // token number `index`. What it drafted before may have stayed in the text, or not.
  virtual std::vector<Drafted> propose(std::span<const int32_t> text, int64_t most, uint64_t sample,
                                       uint64_t index) = 0;
};

// What followed the last tokens of a text where they stood before: as many of them as there are, kLookupMost at most
// and kLookupLeast at least, and the latest place of equals; nothing where there is none. Of `vocab` tokens.
constexpr int64_t kLookupLeast = 2, kLookupMost = 16;
std::unique_ptr<Draft> draft_by_lookup(int64_t vocab);

// A model that writes on after `prompt`, to `text` tokens at most, by the same filters as the target's.
std::unique_ptr<Draft> draft_by_model(const DraftOptions& options, std::span<const int32_t> prompt, int64_t text,
                                      const SamplerOptions& sampler);

}  // namespace effllm
