#include "tasks/bits.h"

#include <fmt/format.h>

namespace effllm {

void BitsOptions::visit(OptionVisitor& v) {
  v("length", length, "Sets the bits of the longest samples.", between(1, kMostTokens));
  v("min_length", min_length, "Sets the bits of the shortest; each number from here to length is as likely.",
    between(1, kMostTokens));
  v("scored", scored, "Chooses which places are scored: the last bit's, or every bit's.", {"last", "every"});
  TaskOptions::visit(v);
}

Bits::Bits(const BitsOptions& o) : shortest_(o.min_length), longest_(o.length), every_(o.scored == "every") {
  if (o.min_length > o.length)
    throw_at(o.mark, fmt::format("data.min_length {} is above data.length {}", o.min_length, o.length));
}

std::string Bits::symbol(int32_t id) const { return fmt::format("{}", id); }

Sample Bits::sample(Draws& draws) const {
  std::vector<int32_t> bits(static_cast<size_t>(draws.between(shortest_, longest_)));
  for (int32_t& b : bits) b = draws.coin();
  const std::vector<int32_t> said = answers(bits);
  Sample s = unscored(std::move(bits));
  if (every_)
    s.targets = said;
  else
    s.targets.back() = said.back();
  return s;
}

}  // namespace effllm
