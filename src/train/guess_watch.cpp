#include "train/guess_watch.h"

#include <fmt/format.h>

#include <cmath>

namespace effllm {

GuessWatch::GuessWatch(int64_t vocab, int64_t warmup)
    : guess_(std::log(static_cast<double>(vocab))), vocab_(vocab), warmup_(warmup) {}

std::string GuessWatch::text() const { return fmt::format("log({}) = {:.3f}", vocab_, guess_); }

std::string GuessWatch::after(int64_t step, double loss) {
  above_ = step > warmup_ && worse(loss) ? above_ + 1 : 0;
  if (said_ || above_ < kLong) return "";
  said_ = true;
  return fmt::format(
      "warning: for {} steps the loss has been above {}, what a guess among all tokens would have: the model is not "
      "learning; lower optim.lr, or look at the corpus",
      kLong, text());
}

}  // namespace effllm
