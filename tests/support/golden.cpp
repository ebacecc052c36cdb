#include "support/golden.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "support/contract.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace effllm::test {

Tensor golden_tensor(const SafetensorsFile& file, const std::string& name) {
  const StoredTensor* t = file.find(name);
  REQUIRE_MESSAGE(t, "no ", name);
  REQUIRE((t->type == StoredType::f64 || t->type == StoredType::i64));
  Shape s;
  for (auto it = t->shape.rbegin(); it != t->shape.rend(); ++it) s = s.rank() ? s.with_first(*it) : Shape{*it};
  const Tensor out = Tensor::dense(s, t->type == StoredType::f64 ? DType::f64 : DType::i64);
  std::memcpy(out.raw(), t->data, t->bytes);
  return out;
}

namespace {

Tensor to_ids(const Tensor& numbers) {
  const Tensor ids = Tensor::dense(numbers.shape(), DType::i32);
  for (int64_t i = 0; i < ids.numel(); ++i) ids.data<int32_t>()[i] = static_cast<int32_t>(numbers.data<int64_t>()[i]);
  return ids;
}

// Those of sum(seed y) by x and by every parameter.
void check_gradients_of(const SafetensorsFile& file, const ParamStore& store, const Tensor& x,
                        const std::function<Tensor(const Tensor&)>& forward) {
  Slab slab(store.slab_elements(), DType::f64);
  ParamGrads grads = store.gradients(slab);
  ParamGrads::current = &grads;
  Tape tape;
  const Tensor leaf = tape.leaf(x);
  Tensor y;
  {
    const Tape::Recording recording(tape);
    y = forward(leaf);
  }
  tape.backward(y, golden_tensor(file, "seed"));
  ParamGrads::current = nullptr;
  grads.zero_unwritten();
  CHECK(max_diff(tape.grad(leaf), golden_tensor(file, "gradient.x")) < 1e-9);
  const auto parameters = store.sorted();
  for (size_t i = 0; i < parameters.size(); ++i) {
    INFO(parameters[i]->name);
    CHECK(max_diff(grads.views[i], golden_tensor(file, "gradient.param." + parameters[i]->name)) < 1e-9);
  }
}

}  // namespace

void for_each_golden(std::string_view name, std::string_view kind,
                     const std::function<void(const SafetensorsFile&)>& f) {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(kSourceDir) / "tests/golden")) {
    const std::string file_name = entry.path().filename().string();
    if (!file_name.starts_with(std::string(name) + ".") || !file_name.ends_with(".safetensors")) continue;
    INFO(file_name);
    ++found;
    const SafetensorsFile file(entry.path());
    REQUIRE(file.metadata().at("kind") == kind);
    f(file);
  }
  CHECK_MESSAGE(found > 0, "no golden file of ", std::string(name), ": scripts/golden/", std::string(name),
                ".py makes it, that of a mechanism through `scripts/golden/all.py --only NAME`");
}

void check_golden(const LayerInfo& info, std::string_view kind) {
  const Poison poison;
  for_each_golden(info.name, kind, [&](const SafetensorsFile& file) {
    const auto options = info.options();
    read(*options, parse_config(file.metadata().at("options"), "golden"), info.name);
    const Tensor x = golden_tensor(file, "x"), want = golden_tensor(file, "y");
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
      copy(golden_tensor(file, "param." + p->name), p->value);
      ++used;
    }
    for (const ModelBuffer& b : store.buffers()) {
      if (!file.find(b.name)) continue;  // as it starts
      copy(golden_tensor(file, b.name), b.value);
      ++used;
    }
    for (const auto& t : file.tensors()) used -= t.name.starts_with("param.") || t.name.starts_with("buffers.");
    CHECK(used == 0);  // every stored parameter and buffer has its place
    Context cx;
    if (file.metadata().at("direction") == "bidirectional") cx.direction = Direction::bidirectional;
    if (const auto it = file.metadata().find("phase"); it != file.metadata().end() && it->second == "train")
      cx.phase = Phase::train;
    if (file.find("segments")) cx.segments = golden_tensor(file, "segments");
    if (file.find("memory")) cx.memory.rows = golden_tensor(file, "memory");
    if (file.find("memory_lengths")) cx.memory.lengths = golden_tensor(file, "memory_lengths");
    if (file.find("ids")) cx.ids = to_ids(golden_tensor(file, "ids"));
    Site root;  // in which something stands before it that has left what it takes
    root.count_tokens();
    Site& before = root.child("before");
    for (const auto& t : file.tensors())
      if (t.name.starts_with("shelf.")) {
        const std::string value = t.name.substr(std::string_view("shelf.").size());
        cx.shelf->emplace(value, golden_tensor(file, t.name));
        before.gives(value, t.shape.back());
      }
    const Site& site = root.child("it", *mixer);
    CHECK(max_diff(mixer->forward(x, Call(cx, site)), want) < 1e-10);
    if (file.find("seed"))
      check_gradients_of(file, store, x, [&](const Tensor& at) { return mixer->forward(at, Call(cx, site)); });
  });
}

}  // namespace effllm::test
