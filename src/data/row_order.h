// What orders have in common: each says only where a row starts.
#pragma once
#include "data/batches.h"

namespace effllm {

// A batch of B rows of T tokens, cut from one text.
class RowOrder : public BatchOrder {
 public:
  explicit RowOrder(const OrderArgs& args);
  Batch at(int64_t samples) const override;

 protected:
  // Index of the first input of a row; its T inputs are among the first inputs() tokens.
  virtual int64_t row_start(int64_t sample) const = 0;
  int64_t size() const { return static_cast<int64_t>(text_.tokens.size()); }
  int64_t inputs() const { return size() - objective_.lookahead(); }  // those that have all their targets
  const TokenizedText& text_;
  const Objective& objective_;
  const BatchShape shape_;
  const uint64_t seed_;

 private:
  const bool reset_documents_;
};

}  // namespace effllm
