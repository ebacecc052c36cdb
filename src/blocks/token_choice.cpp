#include "blocks/token_choice.h"

#include <algorithm>
#include <cmath>

namespace effllm {
namespace {

double number(const Tensor& t, int64_t row) {
  return dispatch_float(t.dtype(), [&]<class T>() { return static_cast<double>(*t.view<T>().row(row)); });
}
void put(const Tensor& t, int64_t row, double value) {
  dispatch_float(t.dtype(), [&]<class T>() { *t.view<T>().row(row) = static_cast<T>(value); });
}

}  // namespace

int64_t tokens_of(double capacity, int64_t tokens) {
  return static_cast<int64_t>(std::ceil(capacity * static_cast<double>(tokens) - 1e-9));
}

LongText anew_if_unseen(LongText inside) { return {.unseen = inside.unseen, .reach = false, .anew = inside.unseen}; }

Chosen chosen_of(const Tensor& lists) {
  const auto batch = static_cast<size_t>(lists.dim(0)), count = static_cast<size_t>(lists.dim(1));
  Chosen chosen(batch, std::vector<int64_t>(count));
  if (!lists.is_meta())
    for (size_t b = 0; b < batch; ++b)
      std::copy_n(lists.view<int64_t>().row(static_cast<int64_t>(b)), count, chosen[b].begin());
  return chosen;
}

Tensor lists_of(const Chosen& chosen) {
  const Tensor lists =
      Tensor::dense({static_cast<int64_t>(chosen.size()), static_cast<int64_t>(chosen.front().size())}, DType::i64);
  if (!lists.is_meta())
    for (size_t b = 0; b < chosen.size(); ++b)
      std::ranges::copy(chosen[b], lists.view<int64_t>().row(static_cast<int64_t>(b)));
  return lists;
}

Chosen chosen_above_zero(const Tensor& score, const Tensor& among, int64_t expected) {
  const int64_t batch = score.dim(0), tokens = score.dim(1);
  Chosen chosen(static_cast<size_t>(batch));
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<int64_t>& own = chosen[static_cast<size_t>(b)];
    if (score.is_meta()) {
      own.resize(static_cast<size_t>(expected));
      continue;
    }
    for (int64_t t = 0, r = b * tokens; t < tokens; ++t, ++r)
      if (number(score, r) > 0 && (!among.defined() || number(among, r) > 0)) own.push_back(t);
  }
  return chosen;
}

Tensor marks_of(const Chosen& chosen, const Tensor& score) {
  const Tensor marks = Tensor::zeros(score.shape(), score.dtype());
  if (marks.is_meta()) return marks;
  for (size_t b = 0; b < chosen.size(); ++b)
    for (const int64_t t : chosen[b]) put(marks, static_cast<int64_t>(b) * score.dim(1) + t, 1);
  return marks;
}

void show_choice(const Call& call, const Chosen& chosen, const Tensor& score, const Tensor& margin) {
  if (!call.pass().taps || score.is_meta()) return;
  const Tensor marks = Tensor::zeros(score.shape(), DType::i64), far = score.clone();
  for (int64_t r = 0; r < far.rows(); ++r) put(far, r, std::abs(number(far, r)));
  for (size_t b = 0; b < chosen.size(); ++b)
    for (const int64_t t : chosen[b]) *marks.view<int64_t>().row(static_cast<int64_t>(b) * score.dim(1) + t) = 1;
  call.tap_choice(marks, margin.defined() ? margin : far);
}

double sum_over(const Tensor& a, const Tensor& b, const std::function<double(double, double)>& f) {
  double sum = 0;
  for (int64_t r = 0; !a.is_meta() && r < a.rows(); ++r) sum += f(number(a, r), number(b, r));
  return sum;
}

}  // namespace effllm
