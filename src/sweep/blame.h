// Who is to blame for an error of an arm: the key of the study with which it came.
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "sweep/study.h"

namespace effllm {

// To be called in a handler of `e`, which `use` of the base with all `overrides` of the arm has thrown. Throws it again
// where it names a place of the study, or the base alone is wrong. Otherwise an error of the same code that names the
// arm and the last of its keys without which there was no error, and has `e` below it.
[[noreturn]] void blame(const Study& study, const ConfigNode& base, const StudyArm& arm,
                        const std::vector<WrittenOverride>& overrides, const Error& e,
                        const std::function<void(const ConfigNode&)>& use);

// `use` of the base with what an arm and then `more` set, of which an error is blamed as above.
template <class Use>
auto with_blame(const Study& study, const ConfigNode& base, const StudyArm& arm,
                const std::vector<WrittenOverride>& more, Use use) -> decltype(use(std::declval<const ConfigNode&>())) {
  std::vector<WrittenOverride> all = arm.overrides;
  all.insert(all.end(), more.begin(), more.end());
  ConfigNode root = base;
  for (const WrittenOverride& o : all) assign(root, o);
  try {
    return use(root);
  } catch (const Error& e) {
    blame(study, base, arm, all, e, use);
  }
}

}  // namespace effllm
