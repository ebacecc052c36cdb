#include "cores/ttt/ttt_head.h"
#include "cores/common/heads.h"
#include "kernels/dense.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"
#include "kernels/ttt.h"

#include <algorithm>

namespace effllm {

std::vector<MiniBatch> mini_batches(const int64_t* positions, int64_t tokens, int64_t size, bool continues) {
  std::vector<MiniBatch> all;
  for (int64_t from = 0; from < tokens;) {
    const int64_t position = positions ? positions[from] : from, place = position % size;
    int64_t to = from + 1;
    while (to < tokens && to - from < size - place && !(positions && positions[to] == 0)) ++to;
    all.push_back({from, to, place, position == 0 || (from == 0 && !continues), place + to - from == size});
    from = to;
  }
  return all;
}

namespace {

template <class T>
class HeadForward {
 public:
  HeadForward(const TttHead<T>& head, const TttMemory<T>& memory, View<T> o, View<T> z, View<T> read)
      : x_(head), m_(memory), o_(o), z_(z), read_(read) {
    const int64_t rows = std::min(x_.mini_batch, x_.q.rows), n = x_.q.cols;
    const auto make = [](int64_t r, int64_t c) { return Tensor::empty({r, c}, dtype_of<T>); };
    a_ = make(rows, n), sums_ = make(rows, n), scores_ = make(rows, rows), keys_ = make(n, rows),
    stats_ = make(2, rows);
    if (!z_) scratch_z_ = make(rows, n), scratch_read_ = make(rows, n);
  }

  void run() {
    bool open = false;
    for (const MiniBatch& m : mini_batches(x_.positions, x_.q.rows, x_.mini_batch, static_cast<bool>(x_.before.w))) {
      if (m.fresh || m.from == 0) {
        start_state<T>(m.fresh ? x_.w0 : x_.before.w, m_.w);
        start_state<T>(m.fresh ? x_.b0 : x_.before.b, m_.b);
      }
      open = !m.fresh && m.from == 0 && m.place > 0;
      if (open) start_state<T>(x_.before.sum_w, m_.sum_w), start_state<T>(x_.before.sum_b, m_.sum_b);
      read(m, open);
      learn(m, open);
      open = !m.closes;
    }
    if (!open) clear(m_.sum_w), clear(m_.sum_b);
  }

 private:
  void read(const MiniBatch& m, bool open) {
    const int64_t rows = m.to - m.from, n = x_.q.cols;
    const View<const T> q = x_.q.part(m.from, rows), k = x_.k.part(m.from, rows);
    const View<T> z = z_ ? z_.part(m.from, rows) : scratch_z_.view<T>().part(0, rows);
    const View<T> read = z_ ? read_.part(m.from, rows) : scratch_read_.view<T>().part(0, rows);
    const View<T> a = a_.view<T>().part(0, rows), o = o_.part(m.from, rows), sums = sums_.view<T>().part(0, rows);
    ttt_product<T>(false, false, k, m_.w, z, false);
    kernel::add_row<T>(z, m_.b.data, z);
    kernel::ttt_gradient<T>({z, k, x_.v.part(m.from, rows), x_.eta.part(m.from, rows), x_.weight, x_.bias, x_.eps}, a);
    ttt_product<T>(false, false, q, m_.w, read, false);
    // The scores by way of k^T: a product with a transposed operand may take another order where rows are few.
    const View<T> keys = keys_.view<T>().columns(0, rows), scores = scores_.view<T>().part(0, rows).columns(0, rows);
    kernel::transpose<T>(k, keys);
    ttt_product<T>(false, false, q, keys, scores, false);
    if (open) {
      ttt_product<T>(false, false, q, m_.sum_w, sums, false);
      kernel::add_row<T>(sums, m_.sum_b.data, sums);
    }
    kernel::ttt_read<T>({scores, a, open ? sums : View<T>{}, m_.b.data, x_.tau + m.place, read});
    kernel::layer_norm<T>(read, x_.weight, x_.bias, n, x_.eps, o, stats_.view<T>().row(0), stats_.view<T>().row(1));
    kernel::sum<T>(o, q, o);
  }

  void learn(const MiniBatch& m, bool open) {
    const int64_t rows = m.to - m.from;
    const View<const T> k = x_.k.part(m.from, rows);
    const View<T> a = a_.view<T>().part(0, rows);
    const T last = -x_.tau[x_.mini_batch - 1];
    if (m.closes && !open) {  // nobody needs the sum
      kernel::scale<T>(last, a, a, false);
      ttt_product<T>(true, false, k, a, m_.w, true);
      kernel::column_sum<T>(a, m_.b.data, true);
      return;
    }
    ttt_product<T>(true, false, k, a, m_.sum_w, open);
    kernel::column_sum<T>(a, m_.sum_b.data, open);
    if (!m.closes) return;
    kernel::scale<T>(last, m_.sum_w, m_.w, true);
    kernel::scale<T>(last, m_.sum_b, m_.b, true);
  }

  const TttHead<T>& x_;
  const TttMemory<T>& m_;
  View<T> o_, z_, read_;
  Tensor a_, sums_, scores_, keys_, stats_, scratch_z_, scratch_read_;
};

}  // namespace

template <class T>
void ttt_head_forward(const TttHead<T>& head, const TttMemory<T>& after, View<T> o, View<T> z, View<T> read) {
  HeadForward<T>(head, after, o, z, read).run();
}

template void ttt_head_forward(const TttHead<float>&, const TttMemory<float>&, View<float>, View<float>, View<float>);
template void ttt_head_forward(const TttHead<double>&, const TttMemory<double>&, View<double>, View<double>,
                               View<double>);

}  // namespace effllm
