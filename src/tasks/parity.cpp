// Whether the ones so far are an odd number: one bit of state, which each one turns.
//
//   1 0 1 1       scored: 1 1 0 1, or the last alone
#include "tasks/bits.h"

namespace effllm::tasks {
namespace {

struct ParityOptions final : BitsOptions {
  ParityOptions() : BitsOptions("last") {}
};

class Parity final : public Bits {
 public:
  using Options = ParityOptions;
  Parity(const Options& o, uint64_t) : Bits(o) {}

 private:
  std::vector<int32_t> answers(const std::vector<int32_t>& bits) const override {
    std::vector<int32_t> said;
    int32_t odd = 0;
    for (const int32_t b : bits) said.push_back(odd ^= b);
    return said;
  }
};

}  // namespace

extern constinit const TaskInfo parity = TaskInfo::of<Parity>({
    .name = "parity",
    .title = "whether the ones so far are an odd number",
    .paper = "Grazzi et al. 2024, arXiv:2411.12537; Deletang et al. 2022, arXiv:2207.02098",
    .source = "none: written from the papers",
    .deviations = "the answer is told at the last bit, without a token that asks for it; scored: every, which the "
                  "papers do not have, learns in fewer steps",
});

}  // namespace effllm::tasks
