// Watching what runs: counts of FLOPs and bytes, and the first value that is not finite.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "autodiff/op.h"

namespace effllm {

// Adds up the cost of every op that runs on this thread while alive, on real tensors or on shapes alone (MetaMode).
class Meter {
 public:
  Meter();
  ~Meter();
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;
  void count(const Op& op, const Cost& cost);

  struct Row {
    int64_t calls = 0;
    Cost cost;
  };
  Cost total;
  std::map<std::string, Row, std::less<>> by_op;
  static Meter* current() { return current_; }

 private:
  Meter* before_;
  static thread_local Meter* current_;
};

// While alive, every output and every gradient is looked through; the first NaN or infinity throws a NumericalError
// that names op, layer and step.
class NanWatch {
 public:
  explicit NanWatch(int64_t step);
  ~NanWatch();
  NanWatch(const NanWatch&) = delete;
  NanWatch& operator=(const NanWatch&) = delete;
  void check(std::string_view op, std::string_view layer, std::string_view what, const Tensor& t) const;
  static NanWatch* current() { return current_; }

 private:
  int64_t step_;
  NanWatch* before_;
  static thread_local NanWatch* current_;
};

// Names the part of the model that runs, for the watch and for profiles. The name must outlive every use.
class LayerName {
 public:
  explicit LayerName(std::string_view name);
  ~LayerName();
  LayerName(const LayerName&) = delete;
  LayerName& operator=(const LayerName&) = delete;
  static std::string_view current() { return current_; }

 private:
  std::string_view before_;
  static thread_local std::string_view current_;
};

}  // namespace effllm
