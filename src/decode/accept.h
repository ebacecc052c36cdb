// Which drafted tokens stay (Leviathan et al. 2023, arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318):
//
//   token x ~ q stays with probability min(1, p(x) / q(x)); behind the first that doesn't, one is drawn from what q
//   had too little of, max(0, p - q) over its sum; where all stay, one more from p
//
// so that each token has the distribution p, whatever q is.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "decode/draft.h"

namespace effllm {

struct Accepted {
  int64_t drafted;  // tokens that stay
  int32_t next;     // what follows them
};

// p(i), [Q]: what the target draws from in the place of drafted[i], for i = drafted.size() of what comes behind all.
// Numbers are those of a sample, of which the first token is number `index`: whether a token stays, what comes in its
// place and what was drafted go by different ones.
Accepted accept(std::span<const Drafted> drafted, const std::function<std::vector<double>(int64_t)>& p, uint64_t seed,
                uint64_t sample, uint64_t index);

}  // namespace effllm
