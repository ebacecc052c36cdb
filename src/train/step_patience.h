// How long the step in progress is waited for when somebody asks a run to stop.
#pragma once
#include <optional>

namespace effllm {

// Times are seconds of one clock. While a step runs, any thread may ask over().
class StepPatience {
 public:
  explicit StepPatience(double seconds) : seconds_(seconds) {}
  void begins(double now) { began_ = now; }
  void ends(double now) { last_ = now - began_; }

  // Whether the step is to be given up, after a request at `asked`: at once where its end was more than `seconds` away
  // then, else when they have passed. It is taken to last as long as the step before; the first one to have as much
  // before it as behind it.
  bool over(double asked, double now) const {
    const double left = last_ ? began_ + *last_ - asked : asked - began_;
    return left > seconds_ || now - asked > seconds_;
  }

 private:
  double seconds_, began_ = 0;
  std::optional<double> last_;  // length of the step before
};

}  // namespace effllm
