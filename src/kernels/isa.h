// Which instruction set the kernels use: chosen once at start-up, EFFLLM_ISA=generic|avx2|avx512 overrides.
#pragma once
#include <string_view>
#include <vector>

namespace effllm {

std::string_view isa();                // the one in use
std::vector<std::string_view> isas();  // those compiled in that this CPU runs, best first
void set_isa(std::string_view name);   // ConfigError where it is not among isas(); not while kernels run
template <class T>
struct Kernels;
// The table of kernels of the instruction set in use, for float or double.
template <class T>
const Kernels<T>& kernels();
const Kernels<float>& best_kernels();  // of the best set of this machine, whichever is in use

}  // namespace effllm
