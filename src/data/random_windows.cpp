#include "base/random.h"
#include "data/row_order.h"

namespace effllm {
namespace {

// Every start s with s + T <= inputs is equally likely in every row. Row g is draw g mod B of stream g / B, with B the
// rows of a step when the run began.
class RandomWindows final : public RowOrder {
 public:
  explicit RandomWindows(const OrderArgs& args)
      : RowOrder(args), draws_(shape_.first_batch ? shape_.first_batch : shape_.batch) {}
  double epochs(int64_t samples) const override {
    return static_cast<double>(samples) * static_cast<double>(shape_.tokens) / static_cast<double>(size());
  }

 private:
  int64_t row_start(int64_t sample) const override {
    const RandomStream random(seed_, "data.random_windows", static_cast<uint64_t>(sample / draws_));
    return static_cast<int64_t>(
        random.below(static_cast<uint64_t>(sample % draws_), static_cast<uint64_t>(inputs() - shape_.tokens + 1)));
  }
  int64_t draws_;  // B
};

}  // namespace

namespace orders {

extern constinit const OrderInfo random_windows = OrderInfo::of<RandomWindows>({
    .name = "random_windows",
    .title = "windows at uniform random places, with replacement (nanoGPT's)",
    .has_place = false,
});

}  // namespace orders
}  // namespace effllm
