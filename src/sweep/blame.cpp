#include "sweep/blame.h"

#include <fmt/format.h>

#include <string_view>

namespace effllm {

void blame(const Study& study, const ConfigNode& base, const StudyArm& arm,
           const std::vector<WrittenOverride>& overrides, const Error& e,
           const std::function<void(const ConfigNode&)>& use) {
  if (std::string_view(e.what()).starts_with(study.file.string() + ":")) throw;
  const auto fails = [&](size_t with) {
    try {
      ConfigNode root = base;
      for (size_t i = 0; i < with; ++i) assign(root, overrides[i]);
      use(root);
    } catch (const Error&) {
      return true;
    }
    return false;
  };
  size_t n = overrides.size();
  while (n > 0 && fails(n - 1)) --n;
  if (n == 0 && dynamic_cast<const ConfigErrors*>(&e)) throw;  // has its place, in the base
  if (n == 0) throw Error(e.code(), fmt::format("arm {}: {}", arm.name, e.what()));
  const WrittenOverride& guilty = overrides[n - 1];
  throw Error(e.code(),
              located(guilty.mark, fmt::format("arm {}: with this {} there is an error:", arm.name, guilty.path)) +
                  "\n" + e.what());
}

}  // namespace effllm
