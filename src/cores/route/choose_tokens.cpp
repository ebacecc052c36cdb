#include "cores/route/choose_tokens.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "cores/common/segments.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class ChooseTokensOp final : public Op {
 public:
  explicit ChooseTokensOp(double share) : share_(share) {}
  std::string_view name() const override { return "choose_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape();
    require(s.rank() == 3 && is_float(in[0].dtype()) && share_ > 0 && share_ <= 1,
            "choose_tokens: a share {} of the tokens of scores{}", share_, s.str());
    require_segments("choose_tokens", in[1], s[0], s[1]);
    return {{s, DType::i64}, {{s[2]}, DType::f64}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel());
    return {4 * n, 0, static_cast<double>(in[0].bytes()) + 8 * n, 0};
  }
  void forward(Forward& c) override {
    const int64_t batch = c.in(0).dim(0), tokens = c.in(0).dim(1), count = c.in(0).cols();
    const DocumentStarts starts(c.in(1));
    std::vector<double> border(static_cast<size_t>(batch * count));
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> score = c.in(0).view<T>();
      const View<int64_t> lists = c.out(0).view<int64_t>();
      parallel_for(batch, 1, [&](int64_t b, int64_t) {
        for (int64_t r = b * tokens; r < (b + 1) * tokens; ++r) std::fill_n(lists.row(r), count, int64_t{-1});
        std::vector<int64_t> taken(static_cast<size_t>(tokens)), order;  // experts that a token has; tokens, best first
        for (const Piece& document : pieces_of(starts.row(b), tokens, tokens)) {
          const int64_t n = document.to - document.from, most = most_of(n, share_);
          order.resize(static_cast<size_t>(n));
          for (int64_t e = 0; e < count; ++e) {
            const auto of = [&](int64_t t) { return score.row(b * tokens + t)[e]; };
            std::iota(order.begin(), order.end(), document.from);
            const auto better = [&](int64_t i, int64_t j) { return of(i) > of(j) || (of(i) == of(j) && i < j); };
            std::nth_element(order.begin(), order.begin() + most - 1, order.end(), better);
            const auto left = std::min_element(order.begin() + most, order.end(), better);
            const T last = of(order[static_cast<size_t>(most - 1)]), first = left == order.end() ? T(0) : of(*left);
            border[static_cast<size_t>(b * count + e)] +=
                static_cast<double>(n) * static_cast<double>(last + first) / 2;
            for (int64_t i = 0; i < most; ++i) {
              const int64_t t = order[static_cast<size_t>(i)];
              lists.row(b * tokens + t)[taken[static_cast<size_t>(t)]++] = e;
            }
          }
        }
      });
    });
    double* sum = c.out(1).data<double>();
    std::fill_n(sum, count, 0.0);
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t e = 0; e < count; ++e) sum[e] += border[static_cast<size_t>(b * count + e)];
  }
  void backward(Backward&) override {}

 private:
  double share_;
};

}  // namespace

int64_t most_of(int64_t n, double share) {
  // A share such as 0.3 is a little more than it says: 10 tokens of it are 3.
  return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(static_cast<double>(n) * share * (1 - 1e-12))), 1, n);
}

ChosenTokens choose_tokens(const Tensor& score, double share, const Tensor& segments) {
  auto out = run_many(std::make_unique<ChooseTokensOp>(share), {score.untracked(), segments});
  return {std::move(out[0]), std::move(out[1])};
}

}  // namespace effllm
