#include "ops/embedding.h"

#include "ops/rows.h"

namespace effllm {
namespace {

class EmbeddingOp final : public Op {
 public:
  std::string_view name() const override { return "embedding"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].dtype() == DType::i32 && in[1].shape().rank() == 2,
            "embedding: ids i32 and a table [Q, D], not {} {}", to_string(in[0].dtype()), in[1].shape().str());
    const Shape& s = in[0].shape();
    require(s.rank() == 2, "embedding: ids are [B, T], not {}", s.str());
    require(!in[2].defined() ||
                (in[2].shape().rank() == 2 && in[2].cols() == in[1].cols() && in[2].dtype() == in[1].dtype()),
            "embedding: more rows {} do not go on with a table {}", in[2].shape().str(), in[1].shape().str());
    return {{{s[0], s[1], in[1].cols()}, in[1].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double bytes =
        static_cast<double>(in[0].numel() * in[1].cols()) * static_cast<double>(size_of(in[1].dtype()));
    return {0, bytes / static_cast<double>(size_of(in[1].dtype())), 2 * bytes, 3 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  void forward(Forward& c) override {
    const auto ids = c.in(0).view<int32_t>();
    dispatch_float(c.in(1).dtype(), [&]<class T>() {
      const auto table = c.in(1).view<T>();
      const View<T> more = c.in(2).defined() ? c.in(2).view<T>() : View<T>{};
      const auto y = c.out(0).view<T>();
      for (int64_t r = 0; r < y.rows; ++r) {
        const int64_t id = ids.row(r / ids.cols)[r % ids.cols];
        if (id < 0 || id >= table.rows + more.rows)
          throw DataError("token {} is not in a vocabulary of {}", id, table.rows + more.rows);
        std::copy_n(id < table.rows ? table.row(id) : more.row(id - table.rows), y.cols, y.row(r));
      }
    });
  }
  void backward(Backward& c) override {
    const int64_t table = c.in_shape(1)[0];
    if (const Tensor sum = c.sum(1); sum.defined()) add_rows(c, sum, 0, table);
    if (const Tensor sum = c.sum(2); sum.defined()) add_rows(c, sum, table, c.in_shape(2)[0]);
  }

 private:
  // The gradient of rows that ids [first, first + rows) take.
  static void add_rows(Backward& c, const Tensor& sum, int64_t first, int64_t rows) {
    const auto ids = c.in(0).view<int32_t>();
    dispatch_float(sum.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      const auto d = sum.view<T>();
      // Threads share out columns, so that no two write to one place and tokens add up in order.
      constexpr int64_t kColumns = 64;
      parallel_for(g.cols, kColumns, [&](int64_t from, int64_t to) {
        for (int64_t r = 0; r < g.rows; ++r) {
          const int64_t row = ids.row(r / ids.cols)[r % ids.cols] - first;
          if (row < 0 || row >= rows) continue;
          const T* a = g.row(r);
          T* b = d.row(row);
          for (int64_t k = from; k < to; ++k) b[k] += a[k];
        }
      });
    });
  }
};

}  // namespace

Tensor embedding(const Tensor& ids, const Tensor& table, const Tensor& more) {
  return run(std::make_unique<EmbeddingOp>(), {ids, table, more});
}

}  // namespace effllm
