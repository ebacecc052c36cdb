#include "train/guess_watch.h"

#include <doctest/doctest.h>

#include <limits>

using effllm::GuessWatch;

TEST_CASE("guess watch: a loss above log V for long after warm-up is said once") {
  GuessWatch w(8, 5);  // log 8 = 2.0794
  CHECK(w.text() == "log(8) = 2.079");
  CHECK_FALSE(w.worse(2.079));
  CHECK(w.worse(2.080));
  CHECK(w.worse(std::numeric_limits<double>::quiet_NaN()));
  int64_t step = 0;
  while (step < 5 + GuessWatch::kLong - 1) CHECK(w.after(++step, 3).empty());
  const std::string said = w.after(++step, 3);
  CHECK(said.find("for 100 steps the loss has been above log(8) = 2.079") != said.npos);
  for (int i = 0; i < 300; ++i) CHECK(w.after(++step, i % 150 ? 3 : 1).empty());
}

TEST_CASE("guess watch: a step below it begins the count anew") {
  GuessWatch w(8, 0);
  for (int64_t step = 1; step < 1000; ++step) CHECK(w.after(step, step % GuessWatch::kLong ? 3 : 2).empty());
}
