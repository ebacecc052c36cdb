#include "data/task_order.h"

#include "base/error.h"
#include "data/permutation.h"

namespace effllm {
namespace {

class TaskOrder final : public BatchOrder {
 public:
  TaskOrder(const TaskData& data, const Objective& objective, BatchShape shape, uint64_t seed)
      : data_(data), objective_(objective), shape_(shape), seed_(seed), samples_(data.samples(Split::train)) {}

  Batch at(int64_t samples) const override {
    require(samples >= 0, "a batch after {} samples", samples);
    Batch batch = batch_for(shape_.batch, shape_.tokens, samples);
    for (int64_t b = 0; b < shape_.batch; ++b) {
      std::vector<int32_t> tokens, labels;
      append_row(data_.sample(Split::train, number(samples + b)), shape_.tokens, tokens, labels);
      objective_.cut({.text = tokens,
                      .begin = 0,
                      .end = shape_.tokens,
                      .scored = 0,
                      .document_starts = nullptr,
                      .training = true,
                      .labels = labels},
                     batch);
    }
    return batch;
  }
  double epochs(int64_t samples) const override {
    return samples_ ? static_cast<double>(samples) / static_cast<double>(samples_) : 0;
  }

 private:
  int64_t number(int64_t g) const {
    if (!samples_) return g;
    return Permutation(samples_, seed_, static_cast<uint64_t>(g / samples_))(g % samples_);
  }

  const TaskData& data_;
  const Objective& objective_;
  const BatchShape shape_;
  const uint64_t seed_;
  const int64_t samples_;  // N; 0: without end
};

}  // namespace

std::unique_ptr<BatchOrder> task_order(const TaskData& data, const Objective& objective, BatchShape shape,
                                       uint64_t seed) {
  return std::make_unique<TaskOrder>(data, objective, shape, seed);
}

}  // namespace effllm
