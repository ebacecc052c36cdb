#include "mixers/attention/value_embedding.h"

#include <cmath>

#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/embedding.h"
#include "ops/groups.h"
#include "ops/linear.h"
#include "ops/pointwise.h"

namespace effllm {
namespace {

constexpr double kMostOfGate = 3;

}  // namespace

ValueEmbedding::ValueEmbedding(const LayerArgs& args, int64_t heads, int64_t width, int64_t columns, const Scope& s)
    : columns_(columns),
      // Uniform with the deviation 1 / sqrt(D); of all vectors a token has one.
      table_(&s.param("value_embedding.weight", {args.ids, width},
                      Init::uniform(std::sqrt(3 / static_cast<double>(args.d_model))),
                      {.role = Role::hidden, .active = 1 / static_cast<double>(args.ids)})),
      gate_(&s.param("value_gate.weight", {heads, columns},
                     Init::mapped([](double u, int64_t, int64_t) { return 0.02 * u; }), {.matrices = {heads}})) {}

Tensor ValueEmbedding::operator()(const Tensor& x, const Tensor& ids) const {
  const Tensor read = columns_ < x.cols() ? split_columns(x, {columns_, x.cols() - columns_})[0] : x;
  const Tensor gate = scale(sigmoid(linear(read, gate_->value)), kMostOfGate);
  return multiply_groups(embedding(ids, table_->value), gate);
}

}  // namespace effllm
