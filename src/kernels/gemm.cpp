#include "kernels/gemm.h"

#include <cstdlib>
#include <type_traits>
#include <vector>

#include "base/limits.h"
#include "base/out_of_memory.h"
#include "kernels/dense.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#ifdef EFFLLM_ONEDNN
#include <dnnl.h>

#include <string>
#endif

namespace effllm {
namespace {

constexpr int64_t kRowBlock = 256, kColumnBlock = 128, kFewRows = 64;  // pieces that threads share
constexpr int64_t kSmallWork = 32 * 32 * 32;                           // less is not worth a thread

#ifdef EFFLLM_ONEDNN
// oneDNN is ahead by up to a tenth on most shapes, our kernel where B is transposed and the call is so small that
// packing dominates, and for one row against B^T (a decoding step), where oneDNN falls behind on some CPUs.
bool suits_onednn(bool transpose_b, int64_t m, int64_t n, int64_t k) {
  if (transpose_b && m == 1) return false;
  return m * n * k > (transpose_b ? 64 * 64 * 64 : 32 * 32 * 32);
}
#endif

}  // namespace

template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T* c, int64_t ldc, bool add) {
#ifdef EFFLLM_ONEDNN
  if constexpr (std::is_same_v<T, float>)
    if (suits_onednn(transpose_b, m, n, k)) {
      const auto status =
          dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1, a, lda, b, ldb, add ? 1 : 0, c, ldc);
      if (status == dnnl_success) return;
      if (status == dnnl_out_of_memory) throw OutOfMemory("oneDNN has no memory for a product {} x {} x {}", m, n, k);
    }
#endif
  kernel::gemm<T>({transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc, add});
}

template <class T>
void parallel_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
                   const T* b, int64_t ldb, T* c, int64_t ldc, bool add) {
  if (m * n * k <= kSmallWork) return gemm(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc, add);
  if (m <= kFewRows)
    return parallel_for(n, kColumnBlock, [&](int64_t from, int64_t to) {
      gemm(transpose_a, transpose_b, m, to - from, k, a, lda, b + from * (transpose_b ? ldb : 1), ldb, c + from, ldc,
           add);
    });
  parallel_for(m, m >= 2 * kRowBlock ? kRowBlock : kFewRows, [&](int64_t from, int64_t to) {
    gemm(transpose_a, transpose_b, to - from, n, k, a + from * (transpose_a ? 1 : lda), lda, b, ldb, c + from * ldc,
         ldc, add);
  });
}

#define EFFLLM_GEMM(T)                                                                                            \
  template void gemm<T>(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, T*, int64_t, \
                        bool);                                                                                    \
  template void parallel_gemm<T>(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, T*, \
                                 int64_t, bool);
EFFLLM_GEMM(float)
EFFLLM_GEMM(double)
#undef EFFLLM_GEMM

void prepare_gemm() {
  // Neither the kernels' own workspaces nor the library's compiler could report that there is no room for them. The
  // compiler takes 6 MiB once, workspaces 4 MiB a thread, and allocation maps up to 64 MiB of addresses as it likes:
  // with 32 MiB left, a few of a hundred starts ended inside the compiler.
  constexpr size_t kRoom = size_t{96} << 20;
  // The first allocation of a thread maps an arena of 64 MiB and more: before the question, not after it.
  void* volatile first = std::malloc(1);
  std::free(first);
  if (!has_room(kRoom)) throw OutOfMemory("no memory for dense products");
  const double d = 1;
  const float f = 1;
  double to_d;
  float to_f;
  kernel::gemm<double>({false, false, 1, 1, 1, &d, 1, &d, 1, &to_d, 1, false});
  kernel::gemm<float>({false, false, 1, 1, 1, &f, 1, &f, 1, &to_f, 1, false});
  // The library compiles a kernel for each kind of product when it meets the first.
  constexpr int64_t n = 96;
  const std::vector<float> a(n * n, 1), b(n * n, 1);
  std::vector<float> c(n * n);
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true})
      for (const bool add : {false, true})
        gemm(transpose_a, transpose_b, n, n, n, a.data(), n, b.data(), n, c.data(), n, add);
}

const char* gemm_backend() {
#ifdef EFFLLM_ONEDNN
  static const std::string name = [] {
    const dnnl_version_t* v = dnnl_version();
    return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  }();
  return name.c_str();
#else
  return "built-in";
#endif
}

}  // namespace effllm
