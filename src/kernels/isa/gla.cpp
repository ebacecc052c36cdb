// The recurrence of gated linear attention, M_t = decay(a_t) M_{t-1} + x2_t x3_t^T, y_t = M_t^T x1_t, for one head.
// Blocks of the state stay in the first-level cache while four tokens at a time sweep over them; outputs stay in
// registers. The decays of the four leave the inner loop: the state is multiplied once by their whole product, token u
// enters times the decays after it, f_u = a_{u+1} .. a_3 <= 1, and what it reads is divided by f_u again. Where f_0 is
// too small for that, the tokens go one by one, which is exact for any decay, 0 among them.
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int kTokens = 4;
constexpr int64_t kBlockRows = 64;
constexpr int64_t kSegment = 64;                         // tokens between changes of block, where the state has several
constexpr int kWidest = kVectorRegisters >= 32 ? 4 : 2;  // vectors in a row of a block

// Smallest f_0 that is divided by: far from overflow, and its inverse times any sensible number too.
template <class T>
constexpr T kSmallest = sizeof(T) == 4 ? T(1e-14) : T(1e-100);

// What the decay multiplies: nothing, rows of M (key decay), columns of M (value decay; a scalar counts as one).
enum class Fold { none, rows, columns };
constexpr Fold fold_of(Decay d) { return d == Decay::none ? Fold::none : d == Decay::key ? Fold::rows : Fold::columns; }

// One sweep of N tokens over a block. Token u's row i of x1 is q[u * stride + i], of x2 k[u * stride + i].
template <class T, int kVectors>
struct Tile {
  const T *q, *k;
  int64_t q_stride, k_stride;
  const T* row_decay;             // [rows] Fold::rows
  Vec<T> column_decay[kVectors];  // Fold::columns
  Vec<T> v[kTokens][kVectors];
  Vec<T> o[kTokens][kVectors];
};

template <int N, Fold kFold, bool kExclusive, class T, int kVectors>
[[gnu::noinline]] void sweep(Tile<T, kVectors>& tile, T* m, int64_t m_stride, int64_t rows) {
  const T *q = tile.q, *k = tile.k, *row_decay = tile.row_decay;
  const int64_t q_stride = tile.q_stride, k_stride = tile.k_stride;
  Vec<T> o[N][kVectors];
#pragma GCC unroll 4
  for (int u = 0; u < N; ++u)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) o[u][j] = Vec<T>{};
  for (int64_t i = 0; i < rows; ++i, m += m_stride) {
    Vec<T> s[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      s[j] = load(m + j * kLanes<T>);
      if constexpr (kExclusive) o[0][j] += q[i] * s[j];
      if constexpr (kFold == Fold::rows) s[j] *= row_decay[i];
      if constexpr (kFold == Fold::columns) s[j] *= tile.column_decay[j];
    }
#pragma GCC unroll 4
    for (int u = 0; u < N; ++u) {
      const T qu = q[u * q_stride + i], ku = k[u * k_stride + i];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        if (kExclusive && u > 0) o[u][j] += qu * s[j];
        s[j] += ku * tile.v[u][j];
        if (!kExclusive) o[u][j] += qu * s[j];
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(m + j * kLanes<T>, s[j]);
  }
#pragma GCC unroll 4
  for (int u = 0; u < N; ++u)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) tile.o[u][j] = o[u][j];
}

// A block of the state during one pass: rows [row, row + rows) x columns [column, column + width) at `m`. Where width
// is less than kVectors vectors the block is padded.
template <class T, int kVectors, Decay kDecay, bool kExclusive>
class Block {
 public:
  static constexpr int64_t kLane = kLanes<T>, kWidth = kVectors * kLane;
  static constexpr Fold kFold = fold_of(kDecay);

  Block(const GlaPass<T>& pass, int64_t row, int64_t rows, int64_t column, int64_t width, T* m, int64_t m_stride)
      : p_(pass), row_(row), rows_(rows), column_(column), width_(width), m_(m), m_stride_(m_stride) {
    add_ = pass.add || row > 0;
  }

  void run(int64_t from, int64_t to) {
    int64_t t = from;
    for (; t + kTokens <= to; t += kTokens) {
      if (four(t)) continue;
      for (int64_t u = t; u < t + kTokens; ++u) one(u);
    }
    for (; t < to; ++t) one(t);
  }

 private:
  Vec<T> read(const T* row, int j, T pad) const {
    if (width_ == kWidth) return load(row + column_ + j * kLane);
    Vec<T> v = pad - Vec<T>{};
    for (int64_t c = j * kLane; c < width_ && c < (j + 1) * kLane; ++c) v[c - j * kLane] = row[column_ + c];
    return v;
  }
  // The decay of columns at step t, vector j.
  Vec<T> column_decay(int64_t t, int j) const {
    if constexpr (kDecay == Decay::scalar) return *p_.a.row(t) - Vec<T>{};
    return read(p_.a.row(t), j, T(1));
  }
  void write(int64_t t, int u) {
    if (!p_.y) return;
    T* y = p_.y.row(t) + column_;
    for (int j = 0; j < kVectors; ++j, y += kLane) {
      if (width_ == kWidth) {
        store(y, add_ ? load(y) + tile_.o[u][j] : tile_.o[u][j]);
      } else {
        for (int64_t c = 0; c < kLane && j * kLane + c < width_; ++c) y[c] = (add_ ? y[c] : T(0)) + tile_.o[u][j][c];
      }
    }
  }
  void point_at(int64_t t) {
    tile_.q = p_.x1.row(t) + row_;
    tile_.k = p_.x2.row(t) + row_;
    tile_.q_stride = p_.x1.stride;
    tile_.k_stride = p_.x2.stride;
  }

  void one(int64_t t) {
    point_at(t);
    if constexpr (kFold == Fold::rows) tile_.row_decay = p_.a.row(t) + row_;
    for (int j = 0; j < kVectors; ++j) {
      tile_.v[0][j] = read(p_.x3.row(t), j, T(0));
      if constexpr (kFold == Fold::columns) tile_.column_decay[j] = column_decay(t, j);
    }
    sweep<1, kFold, kExclusive>(tile_, m_, m_stride_, rows_);
    write(t, 0);
  }

  // False where the decays are too strong to be divided by; nothing has changed then.
  bool four(int64_t t) {
    point_at(t);
    if constexpr (kFold == Fold::rows)
      if (!scale_rows(t)) return false;
    for (int u = 0; u < kTokens; ++u)
      for (int j = 0; j < kVectors; ++j) tile_.v[u][j] = read(p_.x3.row(t + u), j, T(0));
    Vec<T> inverse[kTokens - 1][kVectors];  // of f_u
    if constexpr (kFold == Fold::columns)
      if (!scale_columns(t, inverse)) return false;
    sweep<kTokens, kFold, kExclusive>(tile_, m_, m_stride_, rows_);
    if constexpr (kFold == Fold::columns) {
      constexpr int kFirst = kExclusive ? 1 : 0;  // token u reads what u - 1 left where the read is exclusive
      for (int u = 0; u < kTokens - 1; ++u)
        for (int j = 0; j < kVectors; ++j) tile_.o[u + kFirst][j] *= inverse[u][j];
    }
    for (int u = 0; u < kTokens; ++u) write(t + u, u);
    return true;
  }

  bool scale_columns(int64_t t, Vec<T> (&inverse)[kTokens - 1][kVectors]) {
    Vec<T> lowest = T(1) - Vec<T>{};
    for (int j = 0; j < kVectors; ++j) {
      const Vec<T> a0 = column_decay(t, j), a1 = column_decay(t + 1, j), a2 = column_decay(t + 2, j),
                   f2 = column_decay(t + 3, j), f1 = a2 * f2, f0 = a1 * f1;
      lowest = f0 < lowest ? f0 : lowest;
      inverse[0][j] = T(1) / f0;
      inverse[1][j] = inverse[0][j] * a1;
      inverse[2][j] = inverse[1][j] * a2;
      tile_.v[0][j] *= f0;
      tile_.v[1][j] *= f1;
      tile_.v[2][j] *= f2;
      tile_.column_decay[j] = a0 * f0;
    }
    if constexpr (kDecay == Decay::scalar) return lowest[0] >= kSmallest<T>;
    T least = lowest[0];
    for (int64_t c = 1; c < kLane; ++c) least = smaller(least, lowest[c]);
    return least >= kSmallest<T>;
  }

  bool scale_rows(int64_t t) {
    const T *a0 = p_.a.row(t) + row_, *a1 = p_.a.row(t + 1) + row_, *a2 = p_.a.row(t + 2) + row_,
            *a3 = p_.a.row(t + 3) + row_;
    const T *q = tile_.q, *k = tile_.k;
    const int64_t qs = tile_.q_stride, ks = tile_.k_stride;
    T least = 1;
#pragma omp simd reduction(min : least)
    for (int64_t i = 0; i < rows_; ++i) {
      const T f2 = a3[i], f1 = a2[i] * f2, f0 = a1[i] * f1;
      const T r0 = T(1) / f0, r1 = r0 * a1[i], r2 = r1 * a2[i];
      least = f0 < least ? f0 : least;
      k_[0][i] = k[i] * f0;
      k_[1][i] = k[ks + i] * f1;
      k_[2][i] = k[2 * ks + i] * f2;
      k_[3][i] = k[3 * ks + i];
      q_[0][i] = kExclusive ? q[i] : q[i] * r0;
      q_[1][i] = q[qs + i] * (kExclusive ? r0 : r1);
      q_[2][i] = q[2 * qs + i] * (kExclusive ? r1 : r2);
      q_[3][i] = kExclusive ? q[3 * qs + i] * r2 : q[3 * qs + i];
      decay_[i] = a0[i] * f0;
    }
    if (!(least >= kSmallest<T>)) return false;
    tile_.q = q_[0];
    tile_.k = k_[0];
    tile_.q_stride = tile_.k_stride = kBlockRows;
    tile_.row_decay = decay_;
    return true;
  }

  const GlaPass<T>& p_;
  int64_t row_, rows_, column_, width_;
  T* m_;
  int64_t m_stride_;
  bool add_;
  Tile<T, kVectors> tile_;
  alignas(64) T q_[kTokens][kBlockRows], k_[kTokens][kBlockRows], decay_[kBlockRows];  // Fold::rows
};

// Steps [from, to) of one block. Its part of the state is worked on in place where its rows are whole vectors one after
// another, or where the steps are too few to pay for a packed copy.
template <class T, int kVectors, Decay kDecay, bool kExclusive>
void run_block(const GlaPass<T>& p, int64_t row, int64_t column, int64_t from, int64_t to) {
  using Part = Block<T, kVectors, kDecay, kExclusive>;
  constexpr int64_t kWorthACopy = 16;
  const int64_t rows = smaller(kBlockRows, p.x1.cols - row), columns = p.x3.cols;
  const int64_t width = smaller(Part::kWidth, columns - column);
  T* state = p.state + row * columns + column;
  if (width == Part::kWidth && (columns == width || to - from < kWorthACopy)) {
    Part(p, row, rows, column, width, state, columns).run(from, to);
    return;
  }
  alignas(64) T packed[kBlockRows * Part::kWidth];
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < Part::kWidth; ++c) packed[i * Part::kWidth + c] = c < width ? state[i * columns + c] : T(0);
  Part(p, row, rows, column, width, packed, Part::kWidth).run(from, to);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < width; ++c) state[i * columns + c] = packed[i * Part::kWidth + c];
}

template <class T, Decay kDecay, bool kExclusive>
void run_pass(const GlaPass<T>& p) {
  constexpr int64_t kLane = kLanes<T>;
  const int64_t rows = p.x1.cols, columns = p.x3.cols;
  const bool one_block = rows <= kBlockRows && columns <= kWidest * kLane;
  const int64_t segment = one_block ? p.steps : kSegment;
  for (int64_t from = 0; from < p.steps; from += segment) {
    const int64_t to = smaller(from + segment, p.steps);
    for (int64_t column = 0; column < columns;) {
      const int64_t left = columns - column;
      const int vectors = left > 2 * kLane ? kWidest : left > kLane ? 2 : 1;
      for (int64_t row = 0; row == 0 || row < rows; row += kBlockRows) {
        if (vectors == 1)
          run_block<T, 1, kDecay, kExclusive>(p, row, column, from, to);
        else if (vectors == 2)
          run_block<T, 2, kDecay, kExclusive>(p, row, column, from, to);
        else
          run_block<T, kWidest, kDecay, kExclusive>(p, row, column, from, to);
      }
      column += vectors * kLane;
    }
  }
}

template <class T, Decay kDecay>
void choose_read(const GlaPass<T>& p) {
  p.exclusive ? run_pass<T, kDecay, true>(p) : run_pass<T, kDecay, false>(p);
}

template <class T>
void gla(const GlaPass<T>& p) noexcept {
  switch (p.decay) {
    case Decay::none:
      return choose_read<T, Decay::none>(p);
    case Decay::scalar:
      return choose_read<T, Decay::scalar>(p);
    case Decay::key:
      return choose_read<T, Decay::key>(p);
    case Decay::value:
      return choose_read<T, Decay::value>(p);
  }
}

}  // namespace

void fill_gla(Kernels<float>& f, Kernels<double>& d) {
  f.gla = gla<float>;
  d.gla = gla<double>;
}

}  // namespace effllm::EFFLLM_ISA
