// The recurrence of gated linear attention, M_t = decay(a_t) M_{t-1} + x2_t x3_t^T, y_t = M_t^T x1_t, for one head.
// Blocks of the state stay in the first-level cache while tiles of up to four tokens sweep over them. The decays leave
// the inner loop: with p_1 = 1 and p_u = a_2 .. a_u for the tokens of a tile, M_u = p_u (a_1 M_0 + sum x2 x3^T / p) is
// kept without the factor p_u, which x1_u or y_u takes up, and the last token's p goes into the next tile's a_1. A
// token joins a tile while its p can be divided by, and starts the next one otherwise: a_1 is only multiplied by, so
// any decay is exact, 0 among them. No token's arithmetic depends on a later token.
#include "kernels/gla.h"
#include "kernels/isa/gla_tile.h"
#include "kernels/isa/state_panels.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kBlockRows = 64;
constexpr int64_t kSegment = 64;  // tokens between changes of block, where the state has several
// The first n lanes of a row, and `pad` in the others.
template <class T>
[[gnu::noinline]] Vec<T> read_some(const T* row, int64_t n, T pad) {
  Vec<T> v = broadcast(pad);
  for (int64_t c = 0; c < n; ++c) v[c] = row[c];
  return v;
}

// A block of the state during one pass: rows [row, row + rows) x columns [column, column + width) at `m`. Where width
// is less than kVectors vectors the block is padded.
template <class T, int kVectors, Decay kDecay, bool kExclusive>
class Block {
 public:
  static constexpr int64_t kLane = kLanes<T>, kWidth = kVectors * kLane;
  static constexpr Fold kFold = fold_of(kDecay);
  static constexpr int kFactors = kDecay == Decay::value ? kVectors : 1;  // vectors that hold a decay of columns

  Block(const GlaPass<T>& pass, int64_t row, int64_t rows, int64_t column, int64_t width, T* m, int64_t m_stride)
      : p_(pass), row_(row), rows_(rows), column_(column), width_(width), m_(m), m_stride_(m_stride) {
    add_ = pass.add || row > 0;
    for (int j = 0; j < kFactors; ++j) owed_[j] = broadcast(T(1));
    if constexpr (kFold == Fold::rows)
      for (int64_t i = 0; i < rows; ++i) owed_rows_[i] = 1;
  }

  void run(int64_t from, int64_t to) {
    int tokens = 1;
    for (int64_t t = from; t < to; t += tokens) tokens = longest_tile(t, to - t);
    if (tokens > 1) settle();
  }

 private:
  Vec<T> read(const T* row, int j, T pad) const {
    const int64_t from = j * kLane;
    if (width_ == kWidth) return load(row + column_ + from);
    return read_some(row + column_ + from, smaller(kLane, width_ - from), pad);
  }
  // The decay of columns at step t, vector j.
  Vec<T> column_decay(int64_t t, int j) const {
    if constexpr (kDecay == Decay::scalar) return broadcast(*p_.a.row(t));
    return read(p_.a.row(t), j, T(1));
  }
  [[gnu::noinline]] void write(int64_t t, int tokens) {
    for (int u = 0; p_.y && u < tokens; ++u) {
      T* y = p_.y.row(t + u) + column_;
      for (int j = 0; j < kVectors; ++j, y += kLane) {
        Vec<T> o = tile_.o[u][j];
        if constexpr (kFold == Fold::columns) o *= read_[u][kFactors > 1 ? j : 0];
        if (width_ == kWidth) {
          store(y, add_ ? load(y) + o : o);
        } else {
          for (int64_t c = 0; c < kLane && j * kLane + c < width_; ++c) y[c] = (add_ ? y[c] : T(0)) + o[c];
        }
      }
    }
  }

  // Runs the longest tile of at most `left` tokens that can start at t and returns its length.
  int longest_tile(int64_t t, int64_t left) {
    tile_.q = p_.x1.row(t) + row_;
    tile_.k = p_.x2.row(t) + row_;
    tile_.q_stride = p_.x1.stride;
    tile_.k_stride = p_.x2.stride;
    if constexpr (kFold == Fold::rows) open_rows(t);
    if constexpr (kFold == Fold::columns) open_columns(t);
    if (left >= 4 && run_tile<4>(t)) return 4;
    if (left >= 3 && run_tile<3>(t)) return 3;
    if (left >= 2 && run_tile<2>(t)) return 2;
    return run_tile<1>(t);
  }

  // False where a p is too small; nothing has happened then.
  template <int N>
  bool run_tile(int64_t t) {
    if constexpr (kFold == Fold::rows)
      if (!scale_rows<N>(t)) return false;
    for (int u = 0; u < N; ++u)
      for (int j = 0; j < kVectors; ++j) tile_.v[u][j] = read(p_.x3.row(t + u), j, T(0));
    if constexpr (kFold == Fold::columns)
      if (!scale_columns<N>(t)) return false;
    sweep<N, kFold, kExclusive>(tile_, m_, m_stride_, rows_);
    write(t, N);
    return true;
  }

  // The first token takes up the factor that the tile before owes to the state.
  void open_columns(int64_t t) {
    for (int j = 0; j < kVectors; ++j) tile_.column_decay[j] = column_decay(t, j) * owed_[kFactors > 1 ? j : 0];
    for (int j = 0; j < kFactors; ++j) read_[0][j] = kExclusive ? owed_[j] : broadcast(T(1));
  }
  template <int N>
  bool scale_columns(int64_t t) {
    Vec<T> p[N][kFactors], least = broadcast(T(1));
    for (int j = 0; j < kFactors; ++j) {
      p[0][j] = broadcast(T(1));
      for (int u = 1; u < N; ++u) {
        p[u][j] = p[u - 1][j] * column_decay(t + u, j);
        least = p[u][j] < least ? p[u][j] : least;
      }
    }
    int64_t lanes = kDecay == Decay::scalar ? 1 : kLane;
    while (lanes > 0 && least[lanes - 1] >= kSmallest<T>) --lanes;
    if (lanes > 0) return false;
    for (int u = 1; u < N; ++u)
      for (int j = 0; j < kFactors; ++j) {
        read_[u][j] = p[kExclusive ? u - 1 : u][j];
        const Vec<T> inverse = T(1) / p[u][j];
        for (int i = j; i < (kFactors > 1 ? j + 1 : kVectors); ++i) tile_.v[u][i] *= inverse;
      }
    for (int j = 0; j < kFactors; ++j) owed_[j] = p[N - 1][j];
    return true;
  }

  void open_rows(int64_t t) {
    const T* a = p_.a.row(t) + row_;
#pragma omp simd
    for (int64_t i = 0; i < rows_; ++i) {
      decay_[i] = a[i] * owed_rows_[i];
      q_[0][i] = kExclusive ? tile_.q[i] * owed_rows_[i] : tile_.q[i];
      k_[0][i] = tile_.k[i];
    }
    tile_.row_decay = decay_;
  }
  template <int N>
  bool scale_rows(int64_t t) {
    const T *q = p_.x1.row(t) + row_, *k = p_.x2.row(t) + row_, *a = p_.a.row(t) + row_;
    const int64_t q_stride = p_.x1.stride, k_stride = p_.x2.stride, a_stride = p_.a.stride;
    T least = 1;
#pragma omp simd reduction(min : least)
    for (int64_t i = 0; i < rows_; ++i) {
      T p = 1;
#pragma GCC unroll 4
      for (int u = 1; u < N; ++u) {
        const T before = p;
        p *= a[u * a_stride + i];
        least = p < least ? p : least;
        q_[u][i] = q[u * q_stride + i] * (kExclusive ? before : p);
        k_[u][i] = k[u * k_stride + i] / p;
      }
      owed_rows_[i] = p;
    }
    tile_.q = q_[0];
    tile_.k = k_[0];
    tile_.q_stride = tile_.k_stride = kBlockRows;
    return least >= kSmallest<T>;
  }

  // The state takes what the last tile owes.
  void settle() {
    if constexpr (kFold == Fold::none) return;
    T* m = m_;
    for (int64_t i = 0; i < rows_; ++i, m += m_stride_)
      for (int j = 0; j < kVectors; ++j) {
        const Vec<T> p = kFold == Fold::rows ? broadcast(owed_rows_[i]) : owed_[kFactors > 1 ? j : 0];
        store(m + j * kLane, load(m + j * kLane) * p);
      }
  }

  const GlaPass<T>& p_;
  int64_t row_, rows_, column_, width_;
  T* m_;
  int64_t m_stride_;
  bool add_;
  Tile<T, kVectors> tile_;
  Vec<T> read_[kTokens][kFactors], owed_[kFactors];  // Fold::columns: factors of o, of the state after the last tile
  alignas(64) T q_[kTokens][kBlockRows], k_[kTokens][kBlockRows], decay_[kBlockRows], owed_rows_[kBlockRows];  // rows
};

// Steps [from, to) of one block.
template <class T, int kVectors, Decay kDecay, bool kExclusive>
void run_block(const GlaPass<T>& p, int64_t row, int64_t column, int64_t from, int64_t to) {
  using Part = Block<T, kVectors, kDecay, kExclusive>;
  const int64_t rows = smaller(kBlockRows, p.x1.cols - row), columns = p.x3.cols;
  const int64_t width = smaller(Part::kWidth, columns - column);
  alignas(64) T packed[kBlockRows * Part::kWidth];
  with_columns<Part::kWidth>(p.state + row * columns + column, rows, columns, width, to - from, packed,
                             [&](T* m, int64_t stride) { Part(p, row, rows, column, width, m, stride).run(from, to); });
}

template <class T, Decay kDecay, bool kExclusive>
void run_pass(const GlaPass<T>& p) {
  const int64_t rows = p.x1.cols, columns = p.x3.cols;
  const bool one_block = rows <= kBlockRows && columns <= kWidest<T> * kLanes<T>;
  const int64_t segment = one_block ? p.steps : kSegment;
  for (int64_t from = 0; from < p.steps; from += segment) {
    const int64_t to = smaller(from + segment, p.steps);
    for_panel_columns<T>(columns, [&]<int kVectors>(int64_t column) {
      for (int64_t row = 0; row == 0 || row < rows; row += kBlockRows)
        run_block<T, kVectors, kDecay, kExclusive>(p, row, column, from, to);
    });
  }
}

template <class T, bool kExclusive>
void choose_decay(const GlaPass<T>& p) {
  switch (p.decay) {
    case Decay::none:
      return run_pass<T, Decay::none, kExclusive>(p);
    case Decay::scalar:
      return run_pass<T, Decay::scalar, kExclusive>(p);
    case Decay::key:
      return run_pass<T, Decay::key, kExclusive>(p);
    case Decay::value:
      return run_pass<T, Decay::value, kExclusive>(p);
  }
}

template <class T>
void gla(const GlaPass<T>& p) noexcept {
  p.exclusive ? choose_decay<T, true>(p) : choose_decay<T, false>(p);
}

}  // namespace

void fill_gla() { EFFLLM_SET(gla, gla); }

}  // namespace effllm::EFFLLM_ISA
