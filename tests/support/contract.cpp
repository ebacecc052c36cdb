#include "support/contract.h"

#include <doctest/doctest.h>

#include "support/contract_parts.h"

namespace effllm::test {
namespace {

// Options written out and read again are the same, and a misspelt one is met with its name.
void check_config(const LayerInfo& info, const ConfigNode& node) {
  const auto options = info.options();
  read(*options, node, info.name);
  const ConfigNode full = write(*options);
  const auto again = info.options();
  read(*again, full, info.name);
  CHECK(to_yaml(write(*again)) == to_yaml(full));
  const auto fields = describe(*options);
  if (fields.empty()) return;
  ConfigNode wrong = full;
  wrong.set(fields[0].name + "x", "1");
  const auto third = info.options();
  CHECK_THROWS_WITH_AS(read(*third, wrong, info.name), doctest::Contains(fields[0].name.c_str()), ConfigError);
}

}  // namespace

void check_contract(const LayerInfo& info) {
  const Poison poison;
  std::vector<std::string> sets = {std::string(info.tiny)};
  for (std::string_view v : info.variants) sets.emplace_back(v);
  const ConfigNode tiny = parse_config(info.tiny, "tiny");
  for (size_t i = 0; i < sets.size(); ++i) {
    const ConfigNode node = i ? merge(tiny, parse_config(sets[i], "variant")) : tiny;
    INFO(std::string(info.name), " ", sets[i]);
    Built m(info, node, kWidth, DType::f64);
    m.shake(0.3);
    for (bool packed : {false, true}) {
      check_gradients(m, info, Phase::train, false, packed);
      if (!info.causal_form) continue;
      for (Phase phase : {Phase::train, Phase::infer}) check_gradients(m, info, phase, true, packed);
    }
    check_splits(m, info, length(info), kWidth, 1e-10);
    check_chunks(m, info);
    check_causality(m, info);
    check_batch(m, info);
    check_documents(m, info);
    check_no_hidden_memory(m, info);
    check_rewind(m, info, 1e-10);
    check_no_idle_memory(m, info);
    check_meta(m, info, node);
    check_warm(m, info);
    check_config(info, node);
    check_f32(m, info, node);
    check_threads(m, info);
    check_learns(info, node);
  }
  const Built defaults(info, parse_config(info.needs, "needs"), 64, DType::f64);
  INFO(std::string(info.name), " at its defaults");
  check_splits(defaults, info, 2 * info.period + 3, 64, 1e-10);
  check_gradients(defaults, info, Phase::train, false, false, 64);
}

}  // namespace effllm::test
