#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "store/safetensors.h"
#include "support/contract.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace effllm::test {
namespace {

Tensor load(const StoredTensor& t) {
  REQUIRE((t.type == StoredType::f64 || t.type == StoredType::i64));
  Shape s;
  for (auto it = t.shape.rbegin(); it != t.shape.rend(); ++it) s = s.rank() ? s.with_first(*it) : Shape{*it};
  const Tensor out = Tensor::dense(s, t.type == StoredType::f64 ? DType::f64 : DType::i64);
  std::memcpy(out.raw(), t.data, t.bytes);
  return out;
}

}  // namespace

void check_golden(const LayerInfo& info, std::string_view kind) {
  const Poison poison;
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(kSourceDir) / "tests/golden")) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(std::string(info.name) + ".") || !name.ends_with(".safetensors")) continue;
    INFO(name);
    ++found;
    const SafetensorsFile file(entry.path());
    REQUIRE(file.metadata().at("kind") == kind);
    const auto options = info.options();
    read(*options, parse_config(file.metadata().at("options"), name), info.name);
    const Tensor x = load(*file.find("x")), want = load(*file.find("y"));
    ParamStore store;
    // Mechanisms that differ from layer to layer say which one this is.
    const auto number = [&](const char* key, int64_t otherwise) {
      const auto it = file.metadata().find(key);
      return it == file.metadata().end() ? otherwise : std::stoll(it->second);
    };
    const int64_t layer = number("layer", 0), layers = number("layers", 1);
    const LayerArgs args{.d_model = x.cols(),
                         .layer = layer,
                         .layers = layers,
                         .max_tokens = x.dim(1),
                         .index_of_kind = layer,
                         .layers_of_kind = layers};
    const auto mixer = info.build(*options, args, Scope(store));
    store.materialize(1, DType::f64);
    size_t used = 0;
    for (const Parameter* p : store.sorted()) {
      const StoredTensor* t = file.find("param." + p->name);
      REQUIRE_MESSAGE(t != nullptr, "no param.", p->name);
      copy(load(*t), p->value);
      ++used;
    }
    for (const auto& t : file.tensors()) used -= t.name.starts_with("param.");
    CHECK(used == 0);  // every stored parameter has its place
    Context cx;
    if (file.metadata().at("direction") == "bidirectional") cx.direction = Direction::bidirectional;
    if (const StoredTensor* s = file.find("segments")) cx.segments = load(*s);
    CHECK(max_diff(mixer->forward(x, cx), want) < 1e-10);
  }
  CHECK_MESSAGE(found > 0, "no golden file of ", std::string(info.name),
                ": `scripts/golden/all.py --only NAME` makes it of scripts/golden/NAME.py");
}

}  // namespace effllm::test
