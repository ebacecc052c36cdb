// Defaults of earlier format versions. Where the default of an option changes the function of a model (the eps of a
// norm, a start), models that were configured before go on with the value of their day.
#pragma once
#include <span>
#include <string_view>

#include "model/model_config.h"

namespace effllm {

// Before format version `changed_in`, the mixer or channel mixer `mechanism` had `value` for `key`, be it as a default
// or because there was no such option.
struct OldDefault {
  int changed_in;
  std::string_view mechanism, key, value;
};

std::span<const OldDefault> old_defaults();

// Options that the configuration leaves to their default get that of format version `version`.
void use_defaults_of(int version, ModelConfig& config, std::span<const OldDefault> changed = old_defaults());

}  // namespace effllm
