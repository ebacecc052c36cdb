// Fills the table of this instruction set.
#include "kernels/isa/simd.h"

#define EFFLLM_STRING_(x) #x
#define EFFLLM_STRING(x) EFFLLM_STRING_(x)

namespace effllm::EFFLLM_ISA {

void fill(Kernels<float>& f, Kernels<double>& d) {
  f.isa = d.isa = EFFLLM_STRING(EFFLLM_ISA);
  fill_gemm(f, d);
  fill_pointwise(f, d);
  fill_groups(f, d);
  fill_norm(f, d);
  fill_loss(f, d);
  fill_position(f, d);
  fill_normals(f, d);
  fill_optimizer(f, d);
  fill_gated_scan(f, d);
  fill_fused_scan(f, d);
  fill_selective_scan(f, d);
  fill_modal_scan(f, d);
  fill_modal_kernel(f, d);
  fill_fourier(f, d);
  fill_short_conv(f, d);
  fill_filter(f, d);
  fill_linear_attention(f, d);
  fill_token_mix(f, d);
  fill_gated_skip(f, d);
  fill_gla(f, d);
  fill_delta(f, d);
  fill_delta_backward(f, d);
  fill_ttt(f, d);
  fill_attention(f, d);
  fill_packed(f, d);
  fill_cell(f, d);
  fill_transpose(f, d);
  fill_probe(f, d);
}

}  // namespace effllm::EFFLLM_ISA
