#include "nn/heads.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace effllm {

void HeadOptions::visit_heads(OptionVisitor& v) {
  v("heads", heads, "Sets the number of query heads.", between(1, 1024));
  v("kv_heads", kv_heads, "Sets the number of key-value heads, a divisor of heads; default: heads.", between(1, 1024));
  v("head_dim", head_dim, "Sets the width of a head; default: d_model / heads.", between(1, 4096));
}

void HeadOptions::visit_dropout(OptionVisitor& v) {
  v("dropout", dropout, "Sets the dropout of the attention probabilities.", between(0, 0.99));
}

Heads::Heads(const HeadOptions& o, int64_t d_model)
    : count(o.heads),
      groups(o.kv_heads.value_or(o.heads)),
      width(o.head_dim.value_or(std::max<int64_t>(1, d_model / o.heads))),
      dropout(o.dropout) {}

void Heads::check(const HeadOptions& o, std::string_view who, int64_t d_model, Diagnostics& found) {
  const auto [count, groups, width, dropout] = Heads(o, d_model);
  if (!o.head_dim && d_model % count)
    found.error(o.mark, fmt::format("{}: {} heads don't divide d_model {}; give head_dim", who, count, d_model));
  if (count % groups)
    found.error(o.mark, fmt::format("{}: {} don't divide {}", who, counted(groups, "kv_head"), counted(count, "head")));
}

AttentionOptions Heads::options(const Call& call) const {
  AttentionOptions o{
      .heads = count, .kv_heads = groups, .dropout = call.left_out(dropout), .samples = call.tokens().samples};
  if (call.pass().chunk > 0) o.chunk = call.pass().chunk;
  if (o.dropout > 0) {
    const RandomStream numbers = call.random("attention");
    o.drop_key[0] = numbers.key0();
    o.drop_key[1] = numbers.key1();
  }
  return o;
}

}  // namespace effllm
