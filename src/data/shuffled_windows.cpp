#include <algorithm>

#include "base/random.h"
#include "data/permutation.h"
#include "data/row_order.h"

namespace effllm {
namespace {

// Sample g is window P_e(g mod W) of epoch e = g / W, windows lying end to end from the epoch's offset.
// W is the same in every epoch, so that e follows from g alone: the largest count for which every offset in [0, T)
// fits (a text of one window has offsets as far as it has room). What an epoch leaves out at the ends is below 2 T
// tokens, and other tokens in the next.
class ShuffledWindows final : public RowOrder {
 public:
  explicit ShuffledWindows(const OrderArgs& args)
      : RowOrder(args),
        windows_(std::max<int64_t>(1, (inputs() + 1) / shape_.tokens - 1)),
        offsets_(std::min(shape_.tokens, inputs() + 1 - windows_ * shape_.tokens)) {}
  double epochs(int64_t samples) const override { return static_cast<double>(samples) / static_cast<double>(windows_); }

 private:
  int64_t row_start(int64_t sample) const override {
    const auto epoch = static_cast<uint64_t>(sample / windows_);
    const RandomStream random(seed_, "data.shuffled_windows", epoch);
    const auto offset = static_cast<int64_t>(random.below(0, static_cast<uint64_t>(offsets_)));
    return offset + Permutation(windows_, seed_, epoch)(sample % windows_) * shape_.tokens;
  }
  int64_t windows_;  // W
  int64_t offsets_;
};

}  // namespace

namespace orders {

extern constinit const OrderInfo shuffled_windows = OrderInfo::of<ShuffledWindows>({
    .name = "shuffled_windows",
    .title = "every window once an epoch, in a counter-based permutation",
});

}  // namespace orders
}  // namespace effllm
