// Sets the kernels of this instruction set.

namespace effllm::EFFLLM_ISA {

#define EFFLLM_FILL(fill) void fill();
#include "kernels/isa/files.def"
#undef EFFLLM_FILL

void fill() {
#define EFFLLM_FILL(fill) fill();
#include "kernels/isa/files.def"
}

}  // namespace effllm::EFFLLM_ISA
