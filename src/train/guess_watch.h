// Whether a model does worse than who knows nothing: a guess among all V tokens alike costs log(V) nats.
#pragma once
#include <cstdint>
#include <string>

namespace effllm {

class GuessWatch {
 public:
  GuessWatch(int64_t vocab, int64_t warmup);
  // To be told of every step after it (`step`: how many there were). A warning, once, where the loss has been above
  // log(V) for kLong steps in a row since warm-up; empty otherwise.
  std::string after(int64_t step, double loss);
  bool worse(double loss) const { return !(loss <= guess_); }
  std::string text() const;  // "log(256) = 5.545"
  static constexpr int64_t kLong = 100;

 private:
  double guess_;
  int64_t vocab_, warmup_, above_ = 0;
  bool said_ = false;
};

}  // namespace effllm
