// Tasks about random bits, an answer at each: what parity and majority share.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tasks/task.h"

namespace effllm {

struct BitsOptions : TaskOptions {
  explicit BitsOptions(std::string usually_scored) : scored(std::move(usually_scored)) {}
  int64_t length = 40, min_length = 3;
  std::string scored;
  void visit(OptionVisitor& v) override;
};

class Bits : public Task {
 public:
  explicit Bits(const BitsOptions& o);
  int64_t vocab() const override { return 2; }
  std::string symbol(int32_t id) const override;
  int64_t longest() const override { return longest_; }
  Sample sample(Draws& draws) const override;

 private:
  // What is to be said at each of the bits, having read those up to it: 0 or 1.
  virtual std::vector<int32_t> answers(const std::vector<int32_t>& bits) const = 0;
  int64_t shortest_, longest_;
  bool every_;
};

}  // namespace effllm
