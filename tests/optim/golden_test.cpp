// Every optimizer of the list against a transcription of its equations, because it is in the list.
#include <doctest/doctest.h>

#include "config/yaml.h"
#include "optim/optimizer.h"
#include "support/golden.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

OptimOptions options_of(const SafetensorsFile& file) {
  OptimOptions o;
  read(o, parse_config(file.metadata().at("options"), "golden"), "optim");
  return o;
}

// The largest difference of a weight to what the file says after all of its steps. clips: takes its scales, not 1.
double error_of(const SafetensorsFile& file, DType type, bool clips = true) {
  ParamStore store;
  for (const StoredTensor& t : file.tensors()) {
    if (!t.name.starts_with("start.")) continue;
    const std::string name = t.name.substr(6);
    const Tensor rows = golden_tensor(file, "rows." + name), traits = golden_tensor(file, "traits." + name);
    store.add(name, {t.shape[0], t.shape[1]}, Init::zeros(),
              {.decay = at(traits, 0, 1) != 0,
               .lr_scale = at(traits, 0, 0),
               .matrices = {rows.data<int64_t>(), rows.data<int64_t>() + rows.numel()}});
  }
  store.materialize(1, type);
  for (const Parameter* p : store.sorted()) copy(to_dtype(golden_tensor(file, "start." + p->name), type), p->value);
  const auto optimizer = build_optimizer(options_of(file), {}, store);
  const Slab gradient(store.slab_elements(), type);
  const Tensor factors = golden_tensor(file, "factors"), scales = golden_tensor(file, "scales");
  for (int64_t step = 0; step < factors.numel(); ++step) {
    for (const Parameter* p : store.sorted()) {
      const Tensor all = golden_tensor(file, "gradient." + p->name);
      copy(to_dtype(all.row_range(step * p->value.rows(), p->shape), type), store.view(gradient, *p));
    }
    optimizer->step(gradient, clips ? at(scales, 0, step) : 1, at(factors, 0, step));
  }
  double worst = 0;
  for (const Parameter* p : store.sorted())
    worst = std::max(worst, max_diff(p->value, golden_tensor(file, "end." + p->name)));
  const ShownWeights shown(*optimizer);  // where others count
  for (const Parameter* p : store.sorted())
    if (file.find("average." + p->name))
      worst = std::max(worst, max_diff(p->value, golden_tensor(file, "average." + p->name)));
  return worst;
}

void check_golden(std::string_view name) {
  bool decays = false;
  for_each_golden(name, "optimizer", [&](const SafetensorsFile& file) {
    CHECK(error_of(file, DType::f64) < 1e-11);
    CHECK(error_of(file, DType::f32) < 1e-6);
    CHECK(error_of(file, DType::f64, false) > 1e-3);  // who does not clip is found out
    CHECK(golden_tensor(file, "factors").numel() >= 10);
    decays = decays || options_of(file).weight_decay > 0;
  });
  CHECK(decays);
}

}  // namespace

#define ENTRY(name) \
  TEST_CASE("optimizer " #name ": golden values") { check_golden(#name); }
#include "lists/optimizers.def"
#undef ENTRY
