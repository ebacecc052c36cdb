#include "decode/speculate.h"

#include <algorithm>

#include "decode/accept.h"

namespace effllm {

Speculation::Speculation(const LanguageModel& target, std::vector<int32_t> prompt, int64_t new_tokens,
                         const ContextLimit& limit, const DraftOptions& draft, const SamplerOptions& sampler)
    : text_(std::move(prompt)),
      new_tokens_(new_tokens),
      most_(draft.tokens),
      sampler_(sampler),
      target_(target, limit, static_cast<int64_t>(text_.size()) + new_tokens),
      draft_(draft.lookup ? draft_by_lookup(target.vocab())
                          : draft_by_model(draft, text_, static_cast<int64_t>(text_.size()) + new_tokens, sampler)) {
  target_.read(text_);
}

Speculation::Speculation(const Speculation& o)
    : text_(o.text_),
      new_tokens_(o.new_tokens_),
      most_(o.most_),
      sampler_(o.sampler_),
      target_(o.target_),
      draft_(o.draft_->branch()) {}

void Speculation::write(int64_t sample, const std::function<bool(int32_t)>& put, DraftCounts& counts) {
  const int64_t calls = target_.calls(), given = target_.given();
  const auto number = static_cast<uint64_t>(sample);
  for (int64_t done = 0; done < new_tokens_;) {
    const auto n = static_cast<int64_t>(text_.size());
    const auto index = static_cast<uint64_t>(done);
    // One token comes for nothing; none is drafted beyond the last, or where the target begins anew.
    const int64_t most = std::clamp<int64_t>(std::min(new_tokens_ - done - 1, target_.room(n)), 0, most_);
    std::vector<Drafted> drafted;
    if (most > 0) drafted = draft_->propose(text_, most, number, index);
    // What was taken back is read again in the call that checks, unless it has become more than a draft.
    if (target_.unread(n) > most_ + 1) target_.read(text_);
    target_.mark_alone();
    for (const Drafted& d : drafted) text_.push_back(d.token);
    const auto m = static_cast<int64_t>(drafted.size());
    target_.read(text_, m + 1);
    const auto p = [&](int64_t i) { return target_.probabilities(i, sampler_); };
    const Accepted a = accept(drafted, p, sampler_.seed, number, index);
    counts.drafted += m;
    counts.checked += std::min(a.drafted + 1, m);
    counts.accepted += a.drafted;
    text_.resize(static_cast<size_t>(n + a.drafted));
    target_.rewind(n + a.drafted);
    text_.push_back(a.next);
    bool goes_on = true;
    for (int64_t i = n; goes_on && i < static_cast<int64_t>(text_.size()); ++i, ++counts.tokens)
      goes_on = put(text_[static_cast<size_t>(i)]);
    done += a.drafted + 1;
    if (!goes_on) break;
  }
  counts.calls += target_.calls() - calls;
  counts.read += target_.given() - given;
}

}  // namespace effllm
