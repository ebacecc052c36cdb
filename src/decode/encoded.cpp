#include "decode/encoded.h"

#include <algorithm>
#include <limits>

#include "base/text.h"

namespace effllm {
namespace {

int32_t drawn(const Tensor& logits, const SamplerOptions& o, uint64_t sample_index, uint64_t token_index) {
  return dispatch_float(logits.dtype(), [&]<class T>() {
    const std::span<const T> row(logits.view<T>().row(0), static_cast<size_t>(logits.cols()));
    return sample(row, o, sample_index, token_index);
  });
}

// Of the sentinels this one alone may be drawn.
Tensor with_sentinel(const LanguageModel& model, const Tensor& logits, int64_t sentinel) {
  const Tensor allowed = logits.clone();
  dispatch_float(allowed.dtype(), [&]<class T>() {
    for (int64_t i = model.vocab(); i < model.outputs(); ++i)
      if (i != model.vocab() + sentinel) allowed.view<T>().row(0)[i] = -std::numeric_limits<T>::infinity();
  });
  return allowed;
}

}  // namespace

Decoding::Decoding(const LanguageModel& model, std::span<const int32_t> read, int32_t first, int64_t room)
    : model_(&model), state_(model.make_state(1, room)) {
  Context cx;
  cx.memory = model.encode(Tensor::view_of(read, {1, static_cast<int64_t>(read.size())}), {});
  append(first, cx);
}

void Decoding::append(int32_t token) { append(token, {}); }

void Decoding::append(int32_t token, const Context& cx) {
  logits_ = model_->logits(Tensor::view_of(std::span<const int32_t>(&token, 1), {1, 1}), cx, &state_)
                .row_range(0, {1, model_->outputs()});
}

EncodedContinuation::EncodedContinuation(const LanguageModel& model, std::vector<int32_t> prompt, int64_t new_tokens,
                                         const ContextLimit& limit)
    : model_(&model),
      tokens_(std::move(prompt)),
      limit_(limit),
      new_tokens_(new_tokens),
      decoding_(begun(static_cast<int64_t>(tokens_.size()))) {}

// After the last tokens, so many at most.
Decoding EncodedContinuation::begun(int64_t text) {
  const auto [read, room] = limit_.begun(text, new_tokens_);
  const auto last = std::span(tokens_).last(static_cast<size_t>(read));
  left_ = room - 1;
  return {*model_, last, last.back(), std::min(room, new_tokens_ + 1)};
}

void EncodedContinuation::append(int32_t token) {
  tokens_.push_back(token);
  if (left_ == 0) {
    decoding_ = begun(std::min(limit_.again, static_cast<int64_t>(tokens_.size())));
    return;
  }
  --left_;
  decoding_.append(token);
}

int32_t EncodedContinuation::next(const SamplerOptions& o, uint64_t sample_index, uint64_t token_index) const {
  return drawn(decoding_.logits(), o, sample_index, token_index);
}

Blanks blanks_of(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                 std::string_view blank) {
  if (blank.empty())
    throw ConfigError("an empty mark stands everywhere in a prompt: choose one that stands for a blank");
  Blanks all;
  const auto add = [&](std::string_view piece) {
    all.between.push_back(piece.empty() ? std::vector<int32_t>() : tokenizer.encode(piece));
    all.read.insert(all.read.end(), all.between.back().begin(), all.between.back().end());
  };
  const auto add_sentinel = [&] {
    all.read.push_back(static_cast<int32_t>(model.vocab() + static_cast<int64_t>(all.between.size()) - 1));
  };
  for (size_t at = 0; (at = prompt.find(blank)) != prompt.npos; prompt.remove_prefix(at + blank.size())) {
    add(prompt.substr(0, at));
    add_sentinel();
  }
  add(prompt);
  if (all.between.size() == 1) {
    add_sentinel();
    all.between.emplace_back();
  }
  if (const auto blanks = static_cast<int64_t>(all.between.size()) - 1; blanks + 2 > model.config().extra_targets)
    throw ConfigError("a prompt with {}, but the model has sentinels for {}: leave some out", counted(blanks, "blank"),
                      model.config().extra_targets - 2);
  if (const auto read = static_cast<int64_t>(all.read.size()); read > model.longest_read())
    throw ConfigError("a prompt of {}, but the encoder has learned positions for {}: make it shorter",
                      counted(read, "token"), model.longest_read());
  if (places_for(model, all) < 1)
    throw ConfigError("a prompt with {} leaves no place for a token: the decoder has learned positions for {}",
                      counted(static_cast<int64_t>(all.between.size()) - 1, "blank"), model.longest());
  return all;
}

// Its inputs are the start, the sentinels of the blanks and the one that ends them, and what is new.
int64_t places_for(const LanguageModel& model, const Blanks& blanks) {
  const int64_t longest = model.longest();
  if (longest == std::numeric_limits<int64_t>::max()) return longest;
  return longest - static_cast<int64_t>(blanks.between.size()) - 1;
}

Decoding begin_filling(const LanguageModel& model, const Blanks& blanks, int64_t tokens) {
  const auto sentinels = static_cast<int64_t>(blanks.between.size()) + 1;
  Decoding d(model, blanks.read, static_cast<int32_t>(model.outputs() - 1),
             std::min(tokens, places_for(model, blanks)) + sentinels);
  d.append(static_cast<int32_t>(model.vocab()));
  return d;
}

void fill_in(const LanguageModel& model, const Blanks& blanks, Decoding d, int64_t tokens,
             const SamplerOptions& sampler, int64_t sample, const std::function<bool(std::span<const int32_t>)>& put) {
  uint64_t draws = 0;
  tokens = std::min(tokens, places_for(model, blanks));
  for (size_t span = 1; span < blanks.between.size(); ++span) {
    const auto end = static_cast<int32_t>(model.vocab() + static_cast<int64_t>(span));
    while (tokens > 0) {
      const int32_t id = drawn(with_sentinel(model, d.logits(), static_cast<int64_t>(span)), sampler,
                               static_cast<uint64_t>(sample), draws++);
      if (id != end) {
        --tokens;
        if (!put(std::span(&id, 1))) return;
      }
      d.append(id);
      if (id == end) break;
    }
    if (!blanks.between[span].empty() && !put(blanks.between[span])) return;
  }
}

}  // namespace effllm
