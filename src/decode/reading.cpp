#include "decode/reading.h"

#include <algorithm>

namespace effllm {

Reading::Reading(const LanguageModel& model, const ContextLimit& limit, int64_t text)
    : model_(&model), longest_(model.longest()) {
  if (limit.anew)
    longest_ = std::min(longest_, limit.tokens);
  else
    reach_.reach = limit.tokens;
  capacity_ = std::min(text, limit.tokens ? std::min(longest_, limit.tokens) : longest_);
}

void Reading::read(std::span<const int32_t> text, int64_t places) {
  const auto n = static_cast<int64_t>(text.size());
  if (!begun_)
    begin(text, std::min(n, longest_));
  else if (n - begin_ > longest_)
    begin(text, std::max<int64_t>(1, longest_ / 2));
  require(places >= 1 && places <= unread(n) + static_cast<int64_t>(!logits_.empty()),
          "logits of {} places, and {} tokens are new", places, unread(n));
  if (places <= unread(n))
    logits_.clear();
  else
    logits_ = {logits_.back()};
  while (read_ < n) {
    const int64_t piece = std::min(kPrefillPiece, n - read_);
    call(text.subspan(static_cast<size_t>(read_), static_cast<size_t>(piece)),
         std::clamp<int64_t>(places - (n - read_ - piece), 0, piece));
  }
}

std::vector<double> Reading::probabilities(int64_t place, const SamplerOptions& o) const {
  const Tensor& row = logits(place);
  return dispatch_float(row.dtype(), [&]<class T>() {
    return effllm::probabilities(std::span<const T>(row.view<T>().row(0), static_cast<size_t>(row.cols())), o);
  });
}

// From nothing, before the last `length` tokens; a prefix is read at once.
void Reading::begin(std::span<const int32_t> text, int64_t length) {
  state_ = State();  // before another takes memory
  state_ = model_->make_state(1, capacity_);
  begun_ = true;
  begin_ = read_ = static_cast<int64_t>(text.size()) - length;
  marks_.clear();
  logits_.clear();
  if (!model_->config().prefix) return;
  Context cx = reach_;
  cx.prefix = Tensor::view_of(std::span(&length, 1), {1});
  const auto last = text.last(static_cast<size_t>(length));
  const Tensor x = model_->body(Tensor::view_of(last, {1, length}), cx, &state_);
  logits_ = {model_->head(x.row_range(length - 1, {1, x.cols()}))};
  count(length);
}

void Reading::call(std::span<const int32_t> piece, int64_t places) {
  const auto n = static_cast<int64_t>(piece.size());
  const Tensor all = model_->logits(Tensor::view_of(piece, {1, n}), reach_, &state_);
  for (int64_t i = n - places; i < n; ++i) logits_.push_back(all.row_range(i, {1, model_->vocab()}));
  count(n);
}

void Reading::count(int64_t tokens) {
  read_ += tokens;
  given_ += tokens;
  ++calls_;
}

void Reading::mark_alone() {
  state_.unmark();
  marks_.clear();
  mark();
}

void Reading::mark() {
  state_.mark();
  marks_.push_back(read_);
}

void Reading::rewind(int64_t text) {
  if (text >= read_) return;
  while (!marks_.empty() && marks_.back() > text) marks_.pop_back();
  logits_.clear();
  if (marks_.empty()) {
    begun_ = false;
    read_ = begin_;
    return;
  }
  const bool there = state_.rewind(marks_.size() - 1, text - marks_.back());
  read_ = there ? text : marks_.back();
}

}  // namespace effllm
