#include "cores/attention/selected_by_block.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cores/attention/block_queries.h"
#include "cores/common/segments.h"
#include "kernels/attention.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr int64_t kStrip = 32;      // rows of queries at a time
constexpr int64_t kMostRows = 128;  // that read a block in one call of the kernel
constexpr int64_t kLeastRows = 4;   // fewer are filled up: the kernel sums in another order for them

int64_t rows_size(int64_t most, int64_t block, int64_t dk, int64_t dv, bool backward) {
  return most * ((backward ? 2 : 1) * (dk + dv) + 1) + kernel::attention_scratch<float>(most, block, dk, dv, kStrip);
}

// Queries that read one block, one after another, each head of a group a row.
template <class T>
struct QueryRows {
  View<T> q, o, d_o, dq;  // [most, dk] and [most, dv]; the gradients only backwards
  T *lse, *scratch;
  std::vector<int64_t> last;  // one past the last key of the block that each row sees

  QueryRows(int64_t most, int64_t block, int64_t dk, int64_t dv, bool backward)
      : last(static_cast<size_t>(most)),
        memory_(Tensor::dense({rows_size(most, block, dk, dv, backward)}, dtype_of<T>)) {
    T* next = memory_.data<T>();
    const auto take = [&](int64_t width) {
      const View<T> rows{next, most, width, width};
      next += most * width;
      return rows;
    };
    q = take(dk);
    o = take(dv);
    if (backward) d_o = take(dv), dq = take(dk);
    lse = take(1).data;
    scratch = next;
  }
  // Rows beyond the queries: they see nothing.
  void pad(int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      for (const View<T>& v : {q, o, d_o})
        if (v) std::fill_n(v.row(r), v.cols, T(0));
      lse[r] = -std::numeric_limits<T>::infinity();
      last[static_cast<size_t>(r)] = 0;
    }
  }

 private:
  Tensor memory_;
};

// The result of one more block joins those before: o = (e^l1 o1 + e^l2 o2) / (e^l1 + e^l2).
template <class T>
void merge(const QueryRows<T>& rows, int64_t row, T* lse, View<T> o) {
  for (int64_t h = 0; h < o.rows; ++h, ++row) {
    const T before = lse[h], now = rows.lse[row], most = std::max(before, now);
    const T* from = rows.o.row(row);
    T* to = o.row(h);
    if (std::isinf(before)) {
      std::copy_n(from, o.cols, to);
      lse[h] = now;
      continue;
    }
    const T x = std::exp(before - most), y = std::exp(now - most), sum = x + y, keep = x / sum, take = y / sum;
    for (int64_t k = 0; k < o.cols; ++k) to[k] = keep * to[k] + take * from[k];
    lse[h] = most + std::log(sum);
  }
}

// For each sequence and key-value head f(b, g, each); each(h) calls h for the blocks in order, with the arguments of
// the kernel for some of a block's queries, their rows, tokens and number, and the block's first key.
template <class T, class F>
void for_blocks(const SelectedCall& c, bool backward, F&& f) {
  const SelectedAttentionOptions& o = c.options;
  const int64_t tokens = c.q.dim(1), keys = c.k.dim(1), groups = o.kv_heads, n = c.blocks.cols() / groups,
                group = o.heads / groups, dk = c.k.cols() / groups, dv = c.v.cols() / groups;
  const DocumentStarts starts(c.segments);
  parallel_for(c.q.dim(0) * groups, 1, [&](int64_t item, int64_t) {
    const int64_t b = item / groups, g = item % groups;
    const int64_t at = first_key(c.q_offset, b, tokens, keys);
    const View<const int64_t> lists = c.blocks.view<int64_t>().part(b * tokens, tokens).columns(g * n, n);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0; i < n; ++i)
        require(lists.row(t)[i] < 0 || lists.row(t)[i] * o.block < keys,
                "selected_attention: block {} of {} keys, there are {}", lists.row(t)[i], o.block, keys);
    const BlockQueries readers(lists, o.block, at, starts.row(b));
    const int64_t together = std::max<int64_t>(1, kMostRows / group);
    QueryRows<T> rows(std::max(kLeastRows, together * group), std::min(o.block, keys), dk, dv, backward);
    f(b, g, [&](auto&& h) {
      for (const BlockQueries::Block& block : readers.blocks)
        for (int64_t done = 0; done < block.count; done += together) {
          const int64_t count = std::min(together, block.count - done), used = std::max(kLeastRows, count * group);
          const int64_t* token = readers.token.data() + block.first + done;
          for (int64_t i = 0; i < count; ++i) {
            std::copy_n(heads_of<T>(o, c.q, b * tokens + token[i], g).data, group * dk, rows.q.row(i * group));
            std::fill_n(rows.last.begin() + i * group, group, std::min(block.to, at + token[i] + 1) - block.from);
          }
          rows.pad(count * group, used);
          AttentionArgs<T> a;
          a.q = rows.q.part(0, used);
          a.k = c.k.view<T>().part(b * keys + block.from, block.to - block.from).columns(g * dk, dk);
          a.v = c.v.view<T>().part(b * keys + block.from, block.to - block.from).columns(g * dv, dv);
          a.o = rows.o.part(0, used);
          a.lse = rows.lse;
          a.scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(dk));
          a.causal = false;
          a.last = rows.last.data();
          a.strip = kStrip;
          a.scratch = rows.scratch;
          h(a, rows, token, count, block.from);
        }
    });
  });
}

}  // namespace

int64_t selected_scratch_by_block(int64_t group, int64_t block, int64_t dk, int64_t dv, bool backward) {
  return rows_size(std::max(kLeastRows, std::max<int64_t>(1, kMostRows / group) * group), block, dk, dv, backward);
}

template <class T>
void selected_forward_by_block(const SelectedCall& c, const Tensor& o, const Tensor& lse) {
  const int64_t tokens = c.q.dim(1), group = c.options.heads / c.options.kv_heads;
  for_blocks<T>(c, false, [&](int64_t b, int64_t g, auto&& each) {
    const Tensor own = lse.defined() ? Tensor() : Tensor::dense({tokens, group}, dtype_of<T>);
    const auto sums = [&](int64_t t) {
      return own.defined() ? own.data<T>() + t * group : lse.view<T>().row(b * tokens + t) + g * group;
    };
    for (int64_t t = 0; t < tokens; ++t) {
      const View<T> to = heads_of<T>(c.options, o, b * tokens + t, g);
      std::fill_n(sums(t), group, -std::numeric_limits<T>::infinity());
      std::fill_n(to.data, group * to.cols, T(0));
    }
    each([&](const AttentionArgs<T>& a, QueryRows<T>& rows, const int64_t* token, int64_t count, int64_t) {
      kernel::attention<T>(a);
      for (int64_t i = 0; i < count; ++i)
        merge<T>(rows, i * group, sums(token[i]), heads_of<T>(c.options, o, b * tokens + token[i], g));
    });
  });
}

template <class T>
void selected_backward_by_block(const SelectedCall& c, const SelectedGradients& s) {
  const int64_t tokens = c.q.dim(1), keys = c.k.dim(1), group = c.options.heads / c.options.kv_heads;
  const int64_t dk = c.k.cols() / c.options.kv_heads, dv = c.v.cols() / c.options.kv_heads;
  if (s.dq.into.defined() && !s.dq.accumulate) fill(s.dq.into, 0);
  for_blocks<T>(c, true, [&](int64_t b, int64_t g, auto&& each) {
    each([&](const AttentionArgs<T>& a, QueryRows<T>& rows, const int64_t* token, int64_t count, int64_t from) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = b * tokens + token[i];
        std::copy_n(heads_of<T>(c.options, s.o, row, g).data, group * dv, rows.o.row(i * group));
        std::copy_n(heads_of<T>(c.options, s.d_o, row, g).data, group * dv, rows.d_o.row(i * group));
        std::copy_n(s.lse.view<T>().row(row) + g * group, group, rows.lse + i * group);
      }
      const auto part = [&](const Tensor& into, int64_t width) {
        return into.view<T>().part(b * keys + from, a.k.rows).columns(g * width, width);
      };
      AttentionBackwardArgs<T> d;
      d.d_o = rows.d_o.part(0, a.q.rows);
      d.add_k = d.add_v = true;
      if (s.dq.into.defined()) d.dq = rows.dq.part(0, a.q.rows);
      if (s.dk.defined()) d.dk = part(s.dk, dk);
      if (s.dv.defined()) d.dv = part(s.dv, dv);
      kernel::attention_backward<T>(a, d);
      for (int64_t i = 0; d.dq && i < count; ++i) {
        T* to = heads_of<T>(c.options, s.dq.into, b * tokens + token[i], g).data;
        for (int64_t k = 0; k < group * dk; ++k) to[k] += d.dq.row(i * group)[k];
      }
    });
  });
}

template void selected_forward_by_block<float>(const SelectedCall&, const Tensor&, const Tensor&);
template void selected_forward_by_block<double>(const SelectedCall&, const Tensor&, const Tensor&);
template void selected_backward_by_block<float>(const SelectedCall&, const SelectedGradients&);
template void selected_backward_by_block<double>(const SelectedCall&, const SelectedGradients&);

}  // namespace effllm
