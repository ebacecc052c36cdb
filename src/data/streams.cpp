#include "base/error.h"
#include "base/text.h"
#include "data/row_order.h"

namespace effllm {
namespace {

// Row b reads tokens [b S T, (b + 1) S T) in S steps; then all rows begin again. The last n - B S T tokens (fewer
// than B T + 1) are not read. Sample g is row g mod B of step g / B, so that a batch begins at a multiple of B.
class Streams final : public RowOrder {
 public:
  explicit Streams(const OrderArgs& args) : RowOrder(args), steps_(inputs() / (shape_.batch * shape_.tokens)) {
    if (steps_ < 1)
      throw DataError("{} of {} need a split of {} tokens; this one has {}. Lower train.batch or train.context",
                      counted(shape_.batch, "stream"), counted(shape_.tokens, "token"),
                      shape_.batch * shape_.tokens + objective_.lookahead(), size());
  }
  Batch at(int64_t samples) const override {
    require(samples % shape_.batch == 0, "streams of {} rows do not go on after {} samples", shape_.batch, samples);
    return RowOrder::at(samples);
  }
  bool continues(int64_t samples) const override { return samples / shape_.batch % steps_ != 0; }
  double epochs(int64_t samples) const override {
    return static_cast<double>(samples) / static_cast<double>(steps_ * shape_.batch);
  }

 private:
  int64_t row_start(int64_t sample) const override {
    return (sample % shape_.batch * steps_ + sample / shape_.batch % steps_) * shape_.tokens;
  }
  int64_t steps_;  // S
};

}  // namespace

namespace orders {

extern constinit const OrderInfo streams = OrderInfo::of<Streams>({
    .name = "streams",
    .title = "each row of the batch reads on where it stopped; with train.carry_state, truncated backpropagation",
    .seeded = false,
    .continues = true,
});

}  // namespace orders
}  // namespace effllm
