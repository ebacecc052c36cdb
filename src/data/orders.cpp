#include "data/orders.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "data/permutation.h"

namespace effllm {
namespace {

// Every start s with s + T < n is equally likely in every row. Row g is draw g mod B of stream g / B, with B the rows
// of a step when the run began.
class RandomWindows : public RowOrder {
 public:
  RandomWindows(const TokenizedText& text, BatchShape shape, uint64_t seed, bool reset_documents)
      : RowOrder(text, shape, seed, reset_documents), draws_(shape.first_batch ? shape.first_batch : shape.batch) {}
  double epochs(int64_t samples) const override {
    return static_cast<double>(samples) * static_cast<double>(shape_.tokens) / static_cast<double>(size());
  }

 protected:
  int64_t row_start(int64_t sample) const override {
    const RandomStream random(seed_, "data.random_windows", static_cast<uint64_t>(sample / draws_));
    return static_cast<int64_t>(
        random.below(static_cast<uint64_t>(sample % draws_), static_cast<uint64_t>(size() - shape_.tokens)));
  }

 private:
  int64_t draws_;  // B
};

// Sample g is window P_e(g mod W) of epoch e = g / W, windows lying end to end from the epoch's offset.
// W is the same in every epoch, so that e follows from g alone: the largest count for which every offset in [0, T)
// fits (a text of one window has offsets as far as it has room). What an epoch leaves out at the ends is below 2 T
// tokens, and other tokens in the next.
class ShuffledWindows : public RowOrder {
 public:
  ShuffledWindows(const TokenizedText& text, BatchShape shape, uint64_t seed, bool reset_documents)
      : RowOrder(text, shape, seed, reset_documents),
        windows_(std::max<int64_t>(1, size() / shape.tokens - 1)),
        offsets_(std::min(shape.tokens, size() - windows_ * shape.tokens)) {}
  double epochs(int64_t samples) const override { return static_cast<double>(samples) / static_cast<double>(windows_); }

 protected:
  int64_t row_start(int64_t sample) const override {
    const auto epoch = static_cast<uint64_t>(sample / windows_);
    const RandomStream random(seed_, "data.shuffled_windows", epoch);
    const auto offset = static_cast<int64_t>(random.below(0, static_cast<uint64_t>(offsets_)));
    return offset + Permutation(windows_, seed_, epoch)(sample % windows_) * shape_.tokens;
  }

 private:
  int64_t windows_;  // W
  int64_t offsets_;
};

// Row b reads tokens [b S T, (b + 1) S T) in S steps; then all rows begin again. The last n - B S T tokens (fewer
// than B T + 1) are not read. Sample g is row g mod B of step g / B, so that a batch begins at a multiple of B.
class Streams : public RowOrder {
 public:
  Streams(const TokenizedText& text, BatchShape shape, uint64_t seed, bool reset_documents)
      : RowOrder(text, shape, seed, reset_documents), steps_((size() - 1) / (shape.batch * shape.tokens)) {
    if (steps_ < 1)
      throw DataError("{} of {} need a split of {} tokens; this one has {}. Lower train.batch or train.context",
                      counted(shape.batch, "stream"), counted(shape.tokens, "token"), shape.batch * shape.tokens + 1,
                      size());
  }
  Batch at(int64_t samples) const override {
    require(samples % shape_.batch == 0, "streams of {} rows do not go on after {} samples", shape_.batch, samples);
    return RowOrder::at(samples);
  }
  bool continues(int64_t samples) const override { return samples / shape_.batch % steps_ != 0; }
  double epochs(int64_t samples) const override {
    return static_cast<double>(samples) / static_cast<double>(steps_ * shape_.batch);
  }

 protected:
  int64_t row_start(int64_t sample) const override {
    return (sample % shape_.batch * steps_ + sample / shape_.batch % steps_) * shape_.tokens;
  }

 private:
  int64_t steps_;  // S
};

}  // namespace

std::unique_ptr<BatchOrder> random_windows(const TokenizedText& text, BatchShape shape, uint64_t seed, bool reset) {
  return std::make_unique<RandomWindows>(text, shape, seed, reset);
}
std::unique_ptr<BatchOrder> shuffled_windows(const TokenizedText& text, BatchShape shape, uint64_t seed, bool reset) {
  return std::make_unique<ShuffledWindows>(text, shape, seed, reset);
}
std::unique_ptr<BatchOrder> streams(const TokenizedText& text, BatchShape shape, uint64_t seed, bool reset) {
  return std::make_unique<Streams>(text, shape, seed, reset);
}

}  // namespace effllm
