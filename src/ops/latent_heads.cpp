#include "ops/latent_heads.h"

#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class LatentHeadsOp final : public FloatOp<LatentHeadsOp> {
 public:
  LatentHeadsOp(int64_t heads, int64_t own) : heads_(heads), own_(own) {}
  std::string_view name() const override { return "latent_heads"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &kv = in[0].shape(), &shared = in[1].shape();
    require(heads_ > 0 && own_ > 0 && in[0].cols() % heads_ == 0 && in[0].cols() / heads_ > own_ &&
                shared.with(-1, 1) == kv.with(-1, 1) && in[0].dtype() == in[1].dtype(),
            "latent_heads: kv{} and a shared part {} for {} heads with {} columns of their own", kv.str(), shared.str(),
            heads_, own_);
    return {{kv.with(-1, heads_ * (own_ + in[1].cols())), in[0].dtype()},
            {kv.with(-1, in[0].cols() - heads_ * own_), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto size = bytes_of_number(in[0]);
    const auto kv = numbers(in[0]), shared = numbers(in[1]);
    const double copies = shared * static_cast<double>(heads_);
    return {0, copies, size * (2 * kv + shared + copies), size * (2 * kv + shared + copies)};
  }
  template <class T>
  void forward_in(Forward& c) {
    const View<const T> kv = c.in(0).view<T>(), shared = c.in(1).view<T>();
    const View<T> k = c.out(0).view<T>(), v = c.out(1).view<T>();
    const int64_t value = v.cols / heads_, share = shared.cols;
    for_row_blocks(kv.rows, [&](int64_t r, int64_t n) {
      for (int64_t h = 0; h < heads_; ++h) {
        const View<const T> from = kv.part(r, n).columns(h * (own_ + value), own_ + value);
        const View<T> to = k.part(r, n).columns(h * (own_ + share), own_ + share);
        kernel::scale<T>(T(1), from.columns(0, own_), to.columns(0, own_), false);
        kernel::scale<T>(T(1), shared.part(r, n), to.columns(own_, share), false);
        kernel::scale<T>(T(1), from.columns(own_, value), v.part(r, n).columns(h * value, value), false);
      }
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink d_kv = c.sink(0), d_shared = c.sink(1);
    const Tensor dk = c.whole_grad(0), dv = c.whole_grad(1);
    const View<const T> gk = dk.view<T>(), gv = dv.view<T>();
    const View<T> to_kv = d_kv.view<T>(), to_shared = d_shared.view<T>();
    const int64_t value = gv.cols / heads_, own = own_, share = gk.cols / heads_ - own;
    for_row_blocks(gk.rows, [&](int64_t r, int64_t n) {
      for (int64_t h = 0; h < heads_; ++h) {
        const View<const T> k = gk.part(r, n).columns(h * (own + share), own + share);
        if (to_kv) {
          const View<T> d = to_kv.part(r, n).columns(h * (own + value), own + value);
          kernel::scale<T>(T(1), k.columns(0, own), d.columns(0, own), d_kv.accumulate);
          kernel::scale<T>(T(1), gv.part(r, n).columns(h * value, value), d.columns(own, value), d_kv.accumulate);
        }
        if (to_shared)
          kernel::scale<T>(T(1), k.columns(own, share), to_shared.part(r, n), h > 0 || d_shared.accumulate);
      }
    });
  }

 private:
  int64_t heads_, own_;
};

}  // namespace

KeysValues latent_heads(const Tensor& kv, const Tensor& shared, int64_t heads, int64_t own) {
  return run_to<KeysValues>(std::make_unique<LatentHeadsOp>(heads, own), {kv, shared});
}

}  // namespace effllm
