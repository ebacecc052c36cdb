#include "train/step_patience.h"

#include <doctest/doctest.h>

using effllm::StepPatience;

TEST_CASE("step patience: a step whose end is near is waited for, by the time of the step before") {
  StepPatience p(5);
  p.begins(0);
  p.ends(60);
  p.begins(100);
  CHECK(p.over(120, 120));        // 40 s to go
  CHECK(p.over(154.9, 154.9));    // 5.1
  CHECK_FALSE(p.over(156, 156));  // 4
  CHECK_FALSE(p.over(156, 160));
  CHECK(p.over(156, 161.1));  // it takes longer than the one before: no longer than that
  CHECK_FALSE(p.over(170, 174));
  CHECK(p.over(170, 175.1));
}

TEST_CASE("step patience: the first step is judged by the time that it has run") {
  StepPatience p(5);
  p.begins(100);
  CHECK_FALSE(p.over(104, 104));
  CHECK_FALSE(p.over(104, 108.9));
  CHECK(p.over(104, 109.1));
  CHECK(p.over(106, 106));
  CHECK_FALSE(p.over(99, 100));  // asked before it began
  CHECK(p.over(99, 104.1));
}
