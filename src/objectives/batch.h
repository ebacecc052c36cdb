// What a step or an evaluation takes of a text: rows of inputs and their targets.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace effllm {

inline constexpr int32_t kIgnoredTarget = -1;

// Rows of a batch as tensors that look into it.
struct BatchRows {
  Tensor inputs, targets;  // i32 [rows, tokens]
  Tensor segments;         // i64, the same; undefined where documents are not told apart
  int64_t first = 0;       // place of the first among the rows of the batch
  int64_t of = 0;          // rows of the batch; 0: these are all
  Tensor further = {};     // i32 [rows, tokens, n]: targets after those; undefined where an objective cuts none
};

// Row-major [batch, tokens].
struct Batch {
  int64_t batch = 0, tokens = 0;
  int64_t first_sample = 0;              // number of its first row among all rows of the run
  std::vector<int32_t> inputs, targets;  // a target of kIgnoredTarget carries no loss
  // Number of document starts in the row up to and including each token, where rows are told of documents (else
  // empty). 0: still the document that an earlier call began.
  std::vector<int64_t> segments;
  std::vector<int32_t> further = {};  // the same number for each token, or empty: targets after the first
  int64_t counted() const;            // targets that carry a loss
  BatchRows rows(int64_t first, int64_t count) const;
};

// Of an empty batch with room for so many rows.
Batch batch_for(int64_t rows, int64_t tokens, int64_t first_sample = 0);

// Inputs [begin, end) of a text, which become a row.
struct Stretch {
  std::span<const int32_t> text;
  int64_t begin, end;
  int64_t scored;  // targets of inputs before this one carry no loss
  // Indices into the text, ascending, where nothing is carried over a document's start, whose first token carries no
  // loss; null where documents are not told apart.
  const std::vector<int64_t>* document_starts;
  bool training = false;  // its loss is minimised; else models are compared by it, and an objective leaves none out
  // Of each token of the text the target that a task gives it, kIgnoredTarget where none; empty: what follows is told.
  std::span<const int32_t> labels = {};
};

}  // namespace effllm
