// A layer on some tokens of each sequence: the others pass it by, and what it remembers is of those alone.
#pragma once
#include <functional>
#include <vector>

#include "nn/call.h"

namespace effllm {

// Of each sequence the places of tokens, ascending; they may differ in number.
using Chosen = std::vector<std::vector<int64_t>>;
// own(t): the chosen tokens of any t [B, T, C], as many of each sequence, of some sequences at a time.
using Own = std::function<Tensor(const Tensor& t)>;
using RunChosen = std::function<Tensor(const Own& own, const Call& call)>;

// x with f() in the place of its chosen tokens. f gets a call at `place` inside, a site that counts tokens: it counts
// the chosen, which have their positions among all, and their documents, ids, samples and shared values, and borrow
// the keys of all. Where a document begins after the last of them, what is remembered there is nothing. `share`: of the
// tokens that are chosen as a rule, by which what is measured inside is divided.
Tensor run_chosen(const Tensor& x, const Call& call, std::string_view place, const Chosen& chosen, double share,
                  const RunChosen& f);

}  // namespace effllm
