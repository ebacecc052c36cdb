#include "ops/sequences.h"

#include <cstring>

#include "ops/rows.h"

namespace effllm {
namespace {

// Sequence i of x as rows; a vector has rows of one number.
struct Part {
  std::byte* data;
  int64_t rows;
  size_t row, stride;  // bytes
};
Part part(const Tensor& x, int64_t i) {
  const size_t size = size_of(x.dtype());
  if (x.shape().rank() == 1) return {x.raw() + static_cast<size_t>(i) * size, 1, size, size};
  const int64_t rows = x.rows() / x.dim(0);
  const size_t stride = static_cast<size_t>(x.stride()) * size;
  return {x.raw() + static_cast<size_t>(i * rows) * stride, rows, static_cast<size_t>(x.cols()) * size, stride};
}

void move(const Part& from, const Part& to) {
  for (int64_t r = 0; r < from.rows; ++r)
    std::memcpy(to.data + static_cast<size_t>(r) * to.stride, from.data + static_cast<size_t>(r) * from.stride,
                from.row);
}

// to (+)= from
void move(const Tensor& from, int64_t i, const Tensor& to, int64_t j, bool add) {
  const Part a = part(from, i), b = part(to, j);
  if (!add) return move(a, b);
  dispatch_float(from.dtype(), [&]<class T>() {
    for (int64_t r = 0; r < a.rows; ++r) {
      const T* x = reinterpret_cast<const T*>(a.data + static_cast<size_t>(r) * a.stride);
      T* y = reinterpret_cast<T*>(b.data + static_cast<size_t>(r) * b.stride);
      for (size_t k = 0; k < a.row / sizeof(T); ++k) y[k] += x[k];
    }
  });
}

void clear(const Tensor& x, int64_t i) {
  const Part p = part(x, i);
  for (int64_t r = 0; r < p.rows; ++r) std::memset(p.data + static_cast<size_t>(r) * p.stride, 0, p.row);
}

Cost moved(const Shape& s, DType t) {
  const double bytes = static_cast<double>(s.numel()) * static_cast<double>(size_of(t));
  return {0, 0, 2 * bytes, 2 * bytes};
}

void check(const Sequences& sequences, const Tensor& x) {
  for (size_t i = 0; i < sequences.size(); ++i)
    require(sequences[i] >= (i ? sequences[i - 1] + 1 : 0) && sequences[i] < x.dim(0),
            "sequences out of {} are listed in ascending order, not {} after {}", x.dim(0), sequences[i], i);
}

class TakeOp final : public Op {
 public:
  explicit TakeOp(const Sequences& sequences) : sequences_(sequences) {}
  std::string_view name() const override { return "take_sequences"; }
  Outputs infer(std::span<const Tensor> in) const override {
    check(sequences_, in[0]);
    return {{in[0].shape().with(0, static_cast<int64_t>(sequences_.size())), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return moved(in[0].shape().with(0, static_cast<int64_t>(sequences_.size())), in[0].dtype());
  }
  void forward(Forward& c) override {
    for (size_t i = 0; i < sequences_.size(); ++i)
      move(c.in(0), sequences_[i], c.out(0), static_cast<int64_t>(i), false);
  }
  void backward(Backward& c) override {
    const Tensor to = c.sum(0);
    for (size_t i = 0; to.defined() && i < sequences_.size(); ++i)
      move(c.grad(0), static_cast<int64_t>(i), to, sequences_[i], true);
  }

 private:
  Sequences sequences_;
};

class PutOp final : public Op {
 public:
  explicit PutOp(const Sequences& sequences) : sequences_(sequences) {}
  std::string_view name() const override { return "put_sequences"; }
  Outputs infer(std::span<const Tensor> in) const override {
    check(sequences_, in[0]);
    require(in[1].shape() == in[0].shape().with(0, static_cast<int64_t>(sequences_.size())),
            "put_sequences: {} in the place of {} of {}", in[1].shape().str(), sequences_.size(), in[0].shape().str());
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return moved(in[0].shape(), in[0].dtype()); }
  void forward(Forward& c) override {
    each(c.out(0).dim(0), [&](int which, int64_t i, int64_t b) { move(c.in(which), i, c.out(0), b, false); });
  }
  void backward(Backward& c) override {
    for (int input : {0, 1}) {
      const Sink s = c.sink(input);
      if (!s) continue;
      each(c.in_shape(0)[0], [&](int which, int64_t i, int64_t b) {
        if (which == input)
          move(c.grad(0), b, s.into, i, s.accumulate);
        else if (input == 0 && !s.accumulate)
          clear(s.into, b);
      });
    }
  }

 private:
  // f(the input whose sequence i is sequence b of the output, i, b)
  template <class F>
  void each(int64_t batch, F&& f) const {
    size_t next = 0;
    for (int64_t b = 0; b < batch; ++b)
      if (next < sequences_.size() && sequences_[next] == b)
        f(1, static_cast<int64_t>(next++), b);
      else
        f(0, b, b);
  }
  Sequences sequences_;
};

}  // namespace

Tensor take_sequences(const Tensor& x, const Sequences& sequences) {
  return run(std::make_unique<TakeOp>(sequences), {x});
}

Tensor put_sequences(const Tensor& x, const Sequences& sequences, const Tensor& y) {
  return run(std::make_unique<PutOp>(sequences), {x, y});
}

}  // namespace effllm
