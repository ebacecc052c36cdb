// A variable that holds another value while something is alive.
#pragma once
#include <utility>

namespace effllm {

template <class T>
class Held {
 public:
  Held(T& variable, T value) : variable_(variable), before_(std::exchange(variable, std::move(value))) {}
  ~Held() { variable_ = std::move(before_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  T& variable_;
  T before_;
};

}  // namespace effllm
