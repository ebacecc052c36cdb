// When a file that is made from others, and costs more the longer the run is, may be made anew.
#pragma once

namespace effllm {

// Time spent stays below `share` of the time that passes: after a refresh that took c seconds the next one is due
// c / share seconds later. So the sum over a run grows with its time, not with its square.
class RefreshBudget {
 public:
  explicit RefreshBudget(double share) : share_(share) {}
  bool due(double now) const { return now >= next_; }
  void spent(double from, double to) { next_ = to + (to - from) / share_; }

 private:
  double share_, next_ = 0;
};

}  // namespace effllm
