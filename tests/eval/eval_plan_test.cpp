// Arithmetic against windows laid out one by one.
#include "eval/eval_plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

using namespace effllm;

namespace {

std::vector<Window> laid_out(int64_t inputs, int64_t tokens, int64_t stride) {
  std::vector<Window> all;
  for (int64_t begin = 0, scored = 0; scored < inputs; begin += stride) {
    all.push_back({begin, std::min(begin + tokens, inputs), scored});
    scored = all.back().end;
  }
  return all;
}

}  // namespace

TEST_CASE("eval plan: each input is scored once, by windows of the protocol, in tasks of one length") {
  for (const char* name : {"windows", "sliding", "carried"})
    for (const int64_t tokens : {1, 4, 7})
      for (int64_t stride = 1; stride <= tokens; stride += 2)
        for (const int64_t batch : {1, 3})
          for (int64_t inputs = 1; inputs < 31; ++inputs) {
            const bool sliding = std::string_view(name) == "sliding", carried = *name == 'c';
            const auto cut = sliding ? protocol(name, stride) : protocol(name);
            const EvalPlan p({.protocol = cut, .tokens = tokens, .batch = batch}, inputs);
            const auto want = laid_out(inputs, tokens, sliding ? stride : tokens);
            CAPTURE(name);
            CAPTURE(tokens);
            CAPTURE(stride);
            CAPTURE(inputs);
            REQUIRE(p.windows() == static_cast<int64_t>(want.size()));
            for (int64_t i = 0; i < p.windows(); ++i) {
              const Window a = p.window(i), b = want[static_cast<size_t>(i)];
              CHECK((a.begin == b.begin && a.end == b.end && a.scored == b.scored));
            }
            std::set<std::pair<int64_t, int64_t>> sizes;
            int64_t next = 0;
            for (int64_t i = 0; i < p.tasks(); ++i) {
              const EvalPlan::Task t = p.task(i);
              CHECK(t.first == next);
              CHECK(t.last - t.first <= (carried ? 1 : batch));
              next = t.last;
              for (int64_t w = t.first; w < t.last; ++w) CHECK(p.window(w).length() == p.window(t.first).length());
              sizes.insert({t.last - t.first, p.window(t.first).length()});
            }
            CHECK(next == p.windows());
            std::set<std::pair<int64_t, int64_t>> said;
            for (const EvalPlan::Size& s : p.sizes()) said.insert({s.windows, s.tokens});
            CHECK(said == sizes);
            CHECK(p.workers(2) == (carried ? 1 : std::min<int64_t>(2, p.tasks())));
          }
}

TEST_CASE("eval plan: what is scored of a text, and the stride of half a window") {
  CHECK(scored_inputs({}, 99) == 99);
  CHECK(scored_inputs({.max_tokens = 40}, 99) == 40);
  CHECK(scored_inputs({.max_tokens = 400}, 99) == 99);
  CHECK(stride_of({.protocol = protocol("sliding"), .tokens = 9}) == 4);
  CHECK(stride_of({.protocol = protocol("sliding"), .tokens = 1}) == 1);
  CHECK(stride_of({.protocol = protocol("windows"), .tokens = 9}) == 9);
  CHECK(EvalPlan({.tokens = 1}, int64_t{1} << 40).windows() == int64_t{1} << 40);
}
