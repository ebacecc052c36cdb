// Heads of queries, and those of keys and values that they share, as attention to a text and to an encoder has them.
#pragma once
#include <optional>
#include <string_view>

#include "cores/attention/attention.h"
#include "nn/layer.h"

namespace effllm {

struct HeadOptions : Options {
  int64_t heads = 4;
  std::optional<int64_t> kv_heads, head_dim;
  bool qk_norm = false, bias = false;
  double dropout = 0;

 protected:
  void visit_heads(OptionVisitor& v);
  void visit_bias(OptionVisitor& v) { v("bias", bias, "Adds learned offsets in the projections."); }
  void visit_dropout(OptionVisitor& v);
};

struct Heads {
  int64_t count, groups, width;  // of queries; of keys and values; columns of one
  double dropout;

  Heads(const HeadOptions& o, int64_t d_model);
  // Errors of `who` at the options where heads do not share out the model's width, or the queries.
  static void check(const HeadOptions& o, std::string_view who, int64_t d_model, Diagnostics& found);
  int64_t queries() const { return count * width; }
  int64_t keys() const { return groups * width; }
  AttentionOptions options(const Call& call) const;  // with the numbers of dropout at this place
};

inline constexpr double kQueryKeyNormEps = 1e-6;

}  // namespace effllm
