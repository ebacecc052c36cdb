#include "nn/transposed.h"

#include <algorithm>

#include "kernels/dense.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr int64_t kRows = 64;  // of a weight, in a piece of work

}  // namespace

TransposedWeights::TransposedWeights(ParamStore& store) {
  const DType type = store.dtype();
  const int64_t line = 64 / static_cast<int64_t>(size_of(type));
  int64_t elements = 0;
  std::vector<int64_t> offsets;
  for (Parameter* p : store.sorted()) {
    if (!p->traits.dense) continue;
    const int64_t rows = p->shape[0], extent = p->shape[1] * padded_stride(rows, type);
    for (int64_t from = 0; from < rows; from += kRows)
      pieces_.push_back({copies_.size(), from, std::min(rows, from + kRows)});
    copies_.push_back({p, {}});
    offsets.push_back(elements);
    elements += (extent + line - 1) / line * line;
  }
  memory_ = std::make_unique<Slab>(elements, type);
  for (size_t i = 0; i < copies_.size(); ++i) {
    const Shape& s = copies_[i].of->shape;
    copies_[i].into = Tensor::view_of(memory_->raw() + static_cast<size_t>(offsets[i]) * size_of(type), {s[1], s[0]},
                                      type, padded_stride(s[0], type));
  }
}

TransposedWeights::Fresh::Fresh(TransposedWeights& all) : all_(all) {
  parallel_for(static_cast<int64_t>(all.pieces_.size()), 1, [&](int64_t i, int64_t) {
    const Piece& piece = all.pieces_[static_cast<size_t>(i)];
    const Copy& c = all.copies_[piece.copy];
    dispatch_float(c.into.dtype(), [&]<class T>() {
      kernel::transpose<T>(c.of->value.template view<T>().part(piece.from, piece.to - piece.from),
                           c.into.template view<T>().columns(piece.from, piece.to - piece.from));
    });
  });
  for (const Copy& c : all.copies_) c.of->transposed = c.into;
}

TransposedWeights::Fresh::~Fresh() {
  for (const Copy& c : all_.copies_) c.of->transposed = Tensor();
}

}  // namespace effllm
