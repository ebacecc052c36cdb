// Watching what runs: counts of FLOPs and bytes, and the first value that is not finite.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "autodiff/op.h"
#include "base/held.h"

namespace effllm {

// Adds up the cost of every op that runs on this thread while alive, on real tensors or on shapes alone (MetaMode).
class Meter {
 public:
  void count(const Op& op, const Cost& cost);

  struct Row {
    int64_t calls = 0;
    Cost cost;
  };
  Cost total;
  std::map<std::string, Row, std::less<>> by_op;
  static Meter* current() { return current_; }

 private:
  static thread_local Meter* current_;
  Held<Meter*> held_{current_, this};
};

// While alive, every output and every gradient is looked through; the first NaN or infinity throws a NumericalError
// that names op, layer and step.
class NanWatch {
 public:
  explicit NanWatch(int64_t step) : step_(step) {}
  void check(std::string_view op, std::string_view layer, std::string_view what, const Tensor& t) const;
  static const NanWatch* current() { return current_; }

 private:
  int64_t step_;
  static thread_local const NanWatch* current_;
  Held<const NanWatch*> held_{current_, this};
};

// Names the part of the model that runs, for the watch and for profiles. The name must outlive every use.
class LayerName {
 public:
  explicit LayerName(std::string_view name) : held_(current_, name) {}
  static std::string_view current() { return current_; }

 private:
  static thread_local std::string_view current_;
  Held<std::string_view> held_;
};

}  // namespace effllm
