// Whether more ones than zeros have come.
//
//   1 0 0 1 1        scored: 1 0 0 0 1, or the last alone
#include "tasks/bits.h"

namespace effllm::tasks {
namespace {

struct MajorityOptions final : BitsOptions {
  MajorityOptions() : BitsOptions("every") {}
};

class Majority final : public Bits {
 public:
  using Options = MajorityOptions;
  Majority(const Options& o, uint64_t) : Bits(o) {}

 private:
  std::vector<int32_t> answers(const std::vector<int32_t>& bits) const override {
    std::vector<int32_t> said;
    int64_t ahead = 0;  // ones less zeros
    for (const int32_t b : bits) {
      ahead += b ? 1 : -1;
      said.push_back(ahead > 0);
    }
    return said;
  }
};

}  // namespace

extern constinit const TaskInfo majority = TaskInfo::of<Majority>({
    .name = "majority",
    .title = "whether more ones than zeros have come",
    .paper = "Merrill et al. 2022, arXiv:2106.16213; Beck et al. 2024, arXiv:2405.04517",
    .source = "none: written from the papers",
    .deviations = "two symbols, a tie counts as 0, and the answer is told at the bit itself",
});

}  // namespace effllm::tasks
