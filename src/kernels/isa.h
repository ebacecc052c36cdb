// Which instruction set the kernels use: chosen once at start-up, EFFLLM_ISA=generic|avx2|avx512 overrides.
#pragma once
#include <string_view>
#include <vector>

namespace effllm {

std::string_view isa();                // the one in use
std::vector<std::string_view> isas();  // those compiled in that this CPU runs, best first
void set_isa(std::string_view name);   // ConfigError where it is not among isas(); not while kernels run

}  // namespace effllm
