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
  // Index of the first input of a row; it and the T tokens after it are in the text.
  virtual int64_t row_start(int64_t sample) const = 0;
  int64_t size() const { return static_cast<int64_t>(text_.tokens.size()); }
  const TokenizedText& text_;
  const BatchShape shape_;
  const uint64_t seed_;

 private:
  void fill_row(int64_t start, int64_t b, Batch& batch) const;
  const bool reset_documents_;
};

}  // namespace effllm
