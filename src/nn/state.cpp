#include "nn/state.h"

#include <algorithm>
#include <optional>

namespace effllm {

State::State(std::shared_ptr<const Site> root, int64_t batch, int64_t capacity, DType t, const Make& make)
    : root_(std::move(root)) {
  for (const StateField* f : root_->all())
    fields_.push_back(make(f->shape_for(capacity).with_first(batch), f->count ? DType::i64 : t));
}

State State::at(const Site& site) const {
  State s;
  s.root_ = {root_, &site};
  const auto inside = site.all();
  if (inside.empty()) return s;
  s.first_ = inside.front()->index;
  const auto from = fields_.begin() + static_cast<std::ptrdiff_t>(s.first_ - first_);
  s.fields_.assign(from, from + static_cast<std::ptrdiff_t>(inside.size()));
  return s;
}

State State::rows(int64_t from, int64_t batch) const {
  State s = *this;
  s.unmark();
  for (Tensor& f : s.fields_) {
    const int64_t each = f.shape().rank() == 1 ? 1 : f.rows() / f.dim(0) * f.stride();  // elements of one
    f = Tensor::view_of(f.raw() + static_cast<size_t>(from * each) * size_of(f.dtype()), f.shape().with(0, batch),
                        f.dtype(), f.stride());
  }
  return s;
}

void State::put(const State& values) const {
  for (size_t i = 0; i < fields_.size(); ++i)
    if (fields_[i].raw() != values.fields_[i].raw()) copy(values.fields_[i], fields_[i]);
}

void State::forget(const Site& site, const Sequences& sequences) {
  for (const StateField* f : site.all()) {
    if (f->growth == Growth::memory) continue;
    Tensor& t = fields_[f->index - first_];
    const auto n = static_cast<int64_t>(sequences.size());
    t = put_sequences(t, sequences, Tensor::zeros(t.shape().with(0, n), t.dtype()));
  }
}

bool State::only_longer(const std::vector<Tensor>& was, int64_t tokens) const {
  const auto declared = root_->all();
  std::optional<int64_t> came;
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (!declared[i]->count || declared[i]->growth == Growth::memory) {
      if (fields_[i].raw() != was[i].raw()) return false;
      continue;
    }
    for (int64_t b = 0; b < batch(); ++b) {  // a place that was left out has rows of fewer tokens
      const int64_t n = fields_[i].data<int64_t>()[b] - was[i].data<int64_t>()[b];
      if (came.value_or(n) != n) return false;
      came = n;
    }
  }
  return came.value_or(0) >= tokens;
}

bool State::rewind(size_t mark, int64_t tokens) {
  require(mark < marks_.size() && tokens >= 0, "{} tokens after mark {} of {}", tokens, mark, marks_.size());
  marks_.resize(mark + 1);
  const std::vector<Tensor>& was = *marks_[mark];
  if (tokens == 0 || !only_longer(was, tokens)) {
    fields_ = was;
    return tokens == 0;
  }
  const auto declared = root_->all();
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (!declared[i]->count || declared[i]->growth == Growth::memory) continue;
    fields_[i] = was[i].clone();
    for (int64_t b = 0; b < batch(); ++b) fields_[i].data<int64_t>()[b] += tokens;
  }
  return true;
}

bool State::alone(const Site& site, std::string_view name) const {
  const size_t i = site(name).index - first_;
  const Buffer* const buffer = fields_[i].buffer();
  const auto holders = 1 + std::ranges::count_if(marks_, [&](const auto& m) { return (*m)[i].buffer() == buffer; });
  return buffer && buffer->refs == holders;
}

void State::each(const std::function<void(const StateField&, const Tensor&)>& f) const {
  if (!root_) return;
  const auto declared = root_->all();
  for (size_t i = 0; i < fields_.size(); ++i) f(*declared[i], fields_[i]);
}

}  // namespace effllm
