#include "kernels/isa.h"

#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "kernels/kernel.h"

namespace effllm {

namespace generic {
void fill();
}
namespace avx2 {
void fill();
}
namespace avx512 {
void fill();
}

namespace {

// Sets all kernels to those of a set among isas(), whose name it returns.
std::string_view load(std::string_view name) {
#ifdef EFFLLM_HAVE_avx512
  if (name == "avx512") avx512::fill();
#endif
#ifdef EFFLLM_HAVE_avx2
  if (name == "avx2") avx2::fill();
#endif
  if (name == "generic") generic::fill();
  return name;
}

std::string_view& active() {
  static std::string_view name = [] {
    const char* env = std::getenv("EFFLLM_ISA");
    const std::string wanted = env && *env ? std::string(env) : std::string(isas().front());
    const auto all = isas();
    for (std::string_view known : all)
      if (known == wanted) return load(known);
    throw ConfigError("EFFLLM_ISA={} is not an instruction set of this machine.{}", wanted, did_you_mean(wanted, all));
  }();
  return name;
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

std::string_view isa() { return active(); }

void choose_isa() { active(); }

void set_isa(std::string_view name) {
  std::string_view& now = active();
  for (std::string_view known : isas())
    if (known == name) {
      now = load(known);
      return;
    }
  throw ConfigError("`{}` is not an instruction set of this machine.", name);
}

}  // namespace effllm
