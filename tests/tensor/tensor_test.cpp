#include "tensor/tensor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <thread>
#include <vector>

#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("shape: sizes, rows, columns and text") {
  const Shape s{2, 3, 5};
  CHECK(s.rank() == 3);
  CHECK(s[-1] == 5);
  CHECK(s.numel() == 30);
  CHECK(s.rows() == 6);
  CHECK(s.cols() == 5);
  CHECK(s.with(-1, 7) == Shape{2, 3, 7});
  CHECK(s.with(0, 1) == Shape{1, 3, 5});
  CHECK(s.with_first(4) == Shape{4, 2, 3, 5});
  CHECK(s != Shape{2, 3, 5, 1});
  CHECK(s.str() == "[2, 3, 5]");
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{}.str() == "[]");
  CHECK(Shape{4, 0}.rows() == 0);
}

TEST_CASE("tensor: rows of a multiple of 512 bytes get one cache line more, others none") {
  CHECK(padded_stride(128, DType::f32) == 144);
  CHECK(padded_stride(64, DType::f64) == 72);
  CHECK(padded_stride(127, DType::f32) == 127);
  CHECK(padded_stride(129, DType::f32) == 129);
  CHECK(padded_stride(64, DType::f32) == 64);
  CHECK(padded_stride(128, DType::i32) == 128);  // ids are read as one run
  CHECK(padded_stride(64, DType::i64) == 64);
  for (int64_t cols = 1; cols < 2048; ++cols) CHECK(padded_stride(cols, DType::f32) * 4 % 512 != 0);
}

TEST_CASE("tensor: strides, density and bytes follow from the padding rule") {
  const Tensor a = Tensor::empty({2, 3, 128}, DType::f32);
  CHECK(a.stride() == 144);
  CHECK_FALSE(a.is_dense());
  CHECK(a.bytes() == 6 * 144 * 4);
  CHECK(Tensor::dense({2, 3, 128}, DType::f32).is_dense());
  CHECK(Tensor::empty({1, 128}, DType::f32).stride() == 128);  // one row needs no pad
  CHECK(reinterpret_cast<uintptr_t>(a.raw()) % 64 == 0);
  CHECK_THROWS_AS(a.data<double>(), ShapeError);
  CHECK_FALSE(Tensor().defined());
}

TEST_CASE("tensor: columns, rows and reshapes are views of the same memory") {
  const Tensor a = random({2, 3, 8}, 1);
  const Tensor c = a.columns(2, 3);
  CHECK(c.shape() == Shape{2, 3, 3});
  CHECK(c.stride() == 8);
  CHECK(c.buffer() == a.buffer());
  CHECK(at(c, 4, 1) == at(a, 4, 3));
  put(c, 5, 0, 42);
  CHECK(at(a, 5, 2) == 42);
  const Tensor r = a.row_range(3, {3, 8});
  CHECK(at(r, 2, 7) == at(a, 5, 7));
  CHECK(at(a.reshape({12, 4}), 11, 3) == at(a, 5, 7));
  CHECK_THROWS_AS(a.columns(6, 3), ShapeError);
  CHECK_THROWS_AS(a.columns(-1, 3), ShapeError);
  CHECK_THROWS_AS(a.row_range(4, {3, 8}), ShapeError);
  CHECK_THROWS_AS(a.reshape({7, 7}), ShapeError);
  CHECK_THROWS_AS(c.reshape({2, 9}), ShapeError);  // rows of a column range don't touch
  CHECK(c.reshape({6, 3}).stride() == 8);
}

TEST_CASE("tensor: clone, copy and fill write the tensor's elements and no others") {
  const Tensor a = Tensor::full({3, 4}, DType::f32, 1);
  const Tensor middle = a.columns(1, 2);
  const Tensor before = middle.clone();
  fill(middle, 7);
  CHECK(at(before, 0, 0) == 1);
  for (int64_t r = 0; r < 3; ++r) {
    CHECK(at(a, r, 0) == 1);
    CHECK(at(a, r, 2) == 7);
    CHECK(at(a, r, 3) == 1);
  }
  copy(before, middle);
  CHECK(max_diff(a, Tensor::full({3, 4}, DType::f32, 1)) == 0);
  CHECK_THROWS_AS(copy(a, middle), ShapeError);
  CHECK_THROWS_AS(copy(a, Tensor::zeros({3, 4}, DType::f64)), ShapeError);
  std::vector<int32_t> ids = {1, 2, 3};
  CHECK(at(Tensor::view_of(std::span(ids), {1, 3}), 0, 2) == 3);
  CHECK_THROWS_AS(Tensor::view_of(std::span(ids), {2, 2}), ShapeError);
}

TEST_CASE("buffer pool: repeated shapes take no new memory") {
  BufferPool& pool = BufferPool::local();
  const size_t live = pool.live_bytes();
  const auto step = [] {
    const Tensor a = Tensor::empty({37, 41}, DType::f64), b = a, c = a.clone();
    CHECK_FALSE(a.unique());
    return c.buffer();
  };
  step();
  const size_t misses = pool.misses(), reserved = pool.reserved_bytes();
  for (int i = 0; i < 5; ++i) step();
  CHECK(pool.misses() == misses);
  CHECK(pool.reserved_bytes() == reserved);
  CHECK(pool.live_bytes() == live);
  std::jthread([&] {  // a pool of its own
    step();
    CHECK(BufferPool::local().peak_bytes() == 2 * 37 * 41 * 8);
    CHECK(BufferPool::local().live_bytes() == 0);
  })
      .join();
}

TEST_CASE("buffer pool: poison shows reads before writes") {
  const Poison poison;
  { const Tensor a = Tensor::full({5, 11}, DType::f32, 3); }
  const Tensor b = Tensor::empty({5, 11}, DType::f32);
  for (int64_t c = 0; c < 11; ++c) CHECK(std::isnan(at(b, 4, c)));
  CHECK(max_abs(Tensor::zeros({5, 11}, DType::f32)) == 0);
}

TEST_CASE("meta mode: tensors have shapes and sizes but no memory") {
  BufferPool& pool = BufferPool::local();
  const size_t reserved = pool.reserved_bytes(), live = pool.live_bytes();
  {
    const MetaMode meta;
    const Tensor a = Tensor::zeros({1 << 20, 1 << 20}, DType::f32);  // 4 TiB
    CHECK(a.is_meta());
    CHECK(a.defined());
    CHECK(a.raw() == nullptr);
    CHECK(pool.live_bytes() == live + a.bytes());
    CHECK(a.columns(5, 10).reshape({1 << 20, 10}).is_meta());
    fill(a, 1);
    copy(a, a);
  }
  CHECK_FALSE(MetaMode::on());
  CHECK(pool.reserved_bytes() == reserved);
  CHECK(pool.live_bytes() == live);
}
