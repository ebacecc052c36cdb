#include "kernels/table.h"

#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace effllm {

#define EFFLLM_DECLARE_ISA(name)                \
  namespace name {                              \
  void fill(Kernels<float>&, Kernels<double>&); \
  }
EFFLLM_DECLARE_ISA(generic)
EFFLLM_DECLARE_ISA(avx2)
EFFLLM_DECLARE_ISA(avx512)
#undef EFFLLM_DECLARE_ISA

namespace {

struct Tables {
  Kernels<float> f;
  Kernels<double> d;
};

Tables load(std::string_view name) {
  Tables t{};
#ifdef EFFLLM_HAVE_avx512
  if (name == "avx512") avx512::fill(t.f, t.d);
#endif
#ifdef EFFLLM_HAVE_avx2
  if (name == "avx2") avx2::fill(t.f, t.d);
#endif
  if (name == "generic") generic::fill(t.f, t.d);
  return t;
}

Tables& active() {
  static Tables tables = [] {
    const char* env = std::getenv("EFFLLM_ISA");
    const std::string name = env && *env ? std::string(env) : std::string(isas().front());
    const auto all = isas();
    for (std::string_view known : all)
      if (known == name) return load(known);
    throw ConfigError("EFFLLM_ISA={} is not an instruction set of this machine.{}", name, did_you_mean(name, all));
  }();
  return tables;
}

}  // namespace

std::vector<std::string_view> isas() {
  std::vector<std::string_view> all;
#ifdef EFFLLM_HAVE_avx512
  if (__builtin_cpu_supports("x86-64-v4")) all.push_back("avx512");
#endif
#ifdef EFFLLM_HAVE_avx2
  if (__builtin_cpu_supports("x86-64-v3")) all.push_back("avx2");
#endif
  all.push_back("generic");
  return all;
}

std::string_view isa() { return active().f.isa; }

void set_isa(std::string_view name) {
  for (std::string_view known : isas())
    if (known == name) {
      active() = load(known);
      return;
    }
  throw ConfigError("`{}` is not an instruction set of this machine.", name);
}

template <>
const Kernels<float>& kernels<float>() {
  return active().f;
}
template <>
const Kernels<double>& kernels<double>() {
  return active().d;
}
const Kernels<float>& best_kernels() {
  static const Tables best = load(isas().front());
  return best.f;
}

}  // namespace effllm
