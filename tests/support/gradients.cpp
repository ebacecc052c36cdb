#include "support/gradients.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "support/models.h"

namespace effllm::test {

void check_slopes(const LanguageModel& model, const Slab& gradient, const std::function<double()>& minimised,
                  int64_t every, double far) {
  constexpr double kStep = 1e-5;
  for (const Parameter* p : model.params().sorted())
    for (int64_t i = 0; i < p->shape.numel(); i += every) {
      const int64_t row = i / p->shape.cols(), col = i % p->shape.cols();
      const double before = at(p->value, row, col);
      double slope = 0;
      for (const double sign : {1.0, -1.0}) {
        put(p->value, row, col, before + sign * kStep);
        slope += sign * minimised() / (2 * kStep);
      }
      put(p->value, row, col, before);
      CHECK_MESSAGE(std::abs(at(model.params().view(gradient, *p), row, col) - slope) < far, p->name);
    }
}

void check_directions(const LanguageModel& model, const std::function<Tensor()>& loss, double h,
                      const std::function<bool(std::string_view name)>& which) {
  const ParamStore& params = model.params();
  const Slab gradient(params.slab_elements(), DType::f64);
  loss_gradient(model, loss, gradient);
  std::vector<const Parameter*> directions = {nullptr};
  for (const Parameter* p : params.sorted())
    if (which(p->name)) directions.push_back(p);
  for (const Parameter* only : directions) {
    INFO((only ? only->name : "all"));
    const RandomStream numbers(9, "direction");
    std::vector<double> direction(static_cast<size_t>(params.slab_elements()));
    double analytic = 0;
    for (size_t i = 0; i < direction.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      if (only && (at < only->offset || at >= only->offset + only->extent)) continue;
      direction[i] = numbers.normal(i);
      analytic += gradient.data<double>()[i] * direction[i];
    }
    const auto loss_at = [&](double by) {
      for (size_t i = 0; i < direction.size(); ++i) params.values().data<double>()[i] += by * direction[i];
      const double l = *loss().data<double>();
      for (size_t i = 0; i < direction.size(); ++i) params.values().data<double>()[i] -= by * direction[i];
      return l;
    };
    const double numeric = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
    CHECK(std::abs(analytic - numeric) < 1e-7 * std::max(1.0, std::abs(numeric)));
  }
}

double row_of(const Ledger& ledger, std::string_view name) {
  for (const Measured& m : ledger.rows())
    if (m.name == name) return m.value;
  FAIL(name);
  return 0;
}

}  // namespace effllm::test
