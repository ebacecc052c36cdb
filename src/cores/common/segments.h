// Documents inside rows of tokens. `segments`, i64 [B, T], counts the document starts of a row up to and including each
// token: 0 is still the document that the given state belongs to. A document starts at t where segments[t] differs from
// segments[t - 1] (0 before the first token): what was before counts as nothing there, and no gradient passes.
#pragma once
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace effllm {

// ShapeError unless `segments` is undefined or i64 [batch, tokens].
void require_segments(std::string_view op, const Tensor& segments, int64_t batch, int64_t tokens);

class DocumentStarts {
 public:
  explicit DocumentStarts(const Tensor& segments);  // i64 [B, T]; undefined: no document starts
  // [T] bytes, non-zero where a document starts; null without segments.
  const uint8_t* row(int64_t b) const {
    return bytes_.defined() ? reinterpret_cast<const uint8_t*>(bytes_.raw()) + b * tokens_ : nullptr;
  }

 private:
  Tensor bytes_;
  int64_t tokens_ = 0;
};

// The functions below take one row's starts, [tokens] or null.

// True where the first token goes on with the document of the given state.
inline bool continues(const uint8_t* starts) { return !starts || !starts[0]; }
// First token of the document of token t; 0 also where that document began before the row.
int64_t document_begin(const uint8_t* starts, int64_t t);
// One past the last token of the document of token t.
int64_t document_end(const uint8_t* starts, int64_t t, int64_t tokens);

// Tokens [from, to) of one document. fresh: the document starts with it; closes: another document follows in this row.
struct Piece {
  int64_t from, to;
  bool fresh, closes;
};
// Cuts a row at document starts and every `longest` tokens of a document.
std::vector<Piece> pieces_of(const uint8_t* starts, int64_t tokens, int64_t longest);

}  // namespace effllm
