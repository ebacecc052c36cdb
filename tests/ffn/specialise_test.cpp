// A task in which experts must part the work: two kinds of tokens, each with a map of its own.
#include <doctest/doctest.h>

#include "ffn/ffn.h"
#include "support/fit.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 8;

struct Task {
  Tensor x = random({16, 16, kWidth}, 1), y = Tensor::empty({16, 16, kWidth}, DType::f64);
  Task() {
    const Tensor map[] = {random({kWidth, kWidth}, 2), random({kWidth, kWidth}, 3)};
    for (int64_t r = 0; r < x.rows(); ++r) {
      put(x, r, 0, at(x, r, 0) > 0 ? 3 : -3);  // what kind it is
      for (int64_t c = 0; c < kWidth; ++c) {
        double sum = 0;
        for (int64_t i = 1; i < kWidth; ++i) sum += at(map[at(x, r, 0) > 0], c, i) * at(x, r, i);
        put(y, r, c, sum);
      }
    }
  }
};

double error_of(std::string_view type, std::string_view options, BuiltMixer** out = nullptr) {
  static std::vector<std::unique_ptr<BuiltMixer>> alive;
  static const Task task;
  alive.push_back(std::make_unique<BuiltMixer>(all_ffns.find(type), options, kWidth));
  if (out) *out = alive.back().get();
  return fit(*alive.back(), task.x, task.y, 600, 0.01);
}

}  // namespace

TEST_CASE("moe: two kinds of tokens go to two experts, which do what a perceptron of one expert's size can't") {
  BuiltMixer* m = nullptr;
  const double dense = error_of("swiglu", "{expand: 1}");
  for (const char* even : {"balance: 0.01", "balance: 0, bias_rate: 0.01"}) {
    CAPTURE(even);
    const double routed =
        error_of("moe", fmt::format("{{experts: 2, top_k: 1, topk_norm: false, expand: 1, {}}}", even), &m);
    CHECK(routed < dense / 3);
    const Task task;
    Tensor chosen;
    const Taps look = [&](std::string_view name, const Tensor& value) {
      if (name.ends_with("selected")) chosen = value;
      return value;
    };
    Context cx;
    cx.taps = &look;
    m->mixer->forward(task.x, cx);
    int64_t with_kind = 0;
    for (int64_t r = 0; r < chosen.rows(); ++r)
      with_kind += (*chosen.view<int64_t>().row(r) == 1) == (at(task.x, r, 0) > 0);
    const double agree = static_cast<double>(with_kind) / static_cast<double>(chosen.rows());
    CHECK(std::max(agree, 1 - agree) > 0.95);
  }
}
