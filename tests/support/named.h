// What a configuration names, built as one that says no more than the name.
#pragma once
#include "data/batches.h"
#include "data/tokenizer.h"

namespace effllm {

inline std::unique_ptr<Tokenizer> build_tokenizer(std::string_view name, std::string_view text) {
  return Choice(all_tokenizers, name).build(text);
}
inline const Objective& next_token() {
  static const auto one = Choice(all_objectives, "next_token").build();
  return *one;
}
inline std::unique_ptr<BatchOrder> build_order(std::string_view name, const TokenizedText& text, BatchShape shape,
                                               uint64_t seed, bool reset_documents,
                                               const Objective& objective = next_token()) {
  return Choice(all_orders, name).build({text, objective, shape, seed, reset_documents});
}

}  // namespace effllm
