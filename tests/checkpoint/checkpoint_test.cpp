#include "checkpoint/checkpoint.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "checkpoint/metadata.h"
#include "store/temp_folder.h"
#include "support/models.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// 130 columns of f32 are padded rows in memory, but not in the file.
constexpr std::string_view kModel =
    "{d_model: 128, layers: [{mixer: {type: min_gru}, ffn: {type: mlp, expand: 1, bias: true}}]}";

std::unique_ptr<LanguageModel> model_of(uint64_t seed, DType type = DType::f32, std::string_view yaml = kModel) {
  return build_model(yaml, 19, 16, type, seed);
}

void save(const std::filesystem::path& file, const LanguageModel& m, const std::vector<NamedTensor>& more = {}) {
  save_checkpoint(file, m.params(), more, {{"step", "7"}});
}

void load(const std::filesystem::path& file, const LanguageModel& m) {
  const SafetensorsFile f(file);
  require_checkpoint(f, file.string());
  load_parameters(f, file.string(), m.params());
}

}  // namespace

TEST_CASE("checkpoint: parameters come back to the bit, and their hash tells models apart") {
  const TempFolder folder("checkpoint");
  const auto a = model_of(1), b = model_of(2);
  CHECK(parameter_hash(a->params()) != parameter_hash(b->params()));
  const Tensor moment = random({3, 130}, 1, DType::f32), counter = Tensor::zeros({4}, DType::i64);
  counter.data<int64_t>()[2] = int64_t{1} << 40;
  save(folder / "a.safetensors", *a, {{"opt.m.x", moment}, {"state.seen", counter}});
  load(folder / "a.safetensors", *b);
  CHECK(parameter_hash(a->params()) == parameter_hash(b->params()));
  for (const Parameter* p : a->params().sorted()) CHECK(same_bits(p->value, b->params().find(p->name)->value));

  const SafetensorsFile f(folder / "a.safetensors");
  CHECK(Metadata(f, "a").text("step") == "7");
  CHECK(Metadata(f, "a").text("format") == "pt");
  CHECK(message_of<CheckpointError>([&] { Metadata(f, "a").text("vocab"); }) ==
        "a: the metadata has no `vocab`; is it a checkpoint of effllm?");
  const Tensor back = Tensor::zeros({3, 130}, DType::f32), count = Tensor::zeros({4}, DType::i64);
  CHECK(load_tensor(f, "a", "opt.m.x", back));
  CHECK(load_tensor(f, "a", "state.seen", count));
  CHECK(same_bits(back, moment));
  CHECK(same_bits(count, counter));
  CHECK_FALSE(load_tensor(f, "a", "opt.v.x", back));
  for (const int64_t impossible : {int64_t{-1}, kMostCounted + 1, std::numeric_limits<int64_t>::min()}) {
    counter.data<int64_t>()[3] = impossible;
    save(folder / "b.safetensors", *a, {{"state.seen", counter}});
    const SafetensorsFile changed(folder / "b.safetensors");
    CHECK(message_of<CheckpointError>([&] { load_tensor(changed, "b", "state.seen", count); }) ==
          fmt::format("b: `state.seen` holds {} at row 0, column 3, where a count is needed", impossible));
  }
}

TEST_CASE("checkpoint: values of the other float type are converted") {
  const TempFolder folder("checkpoint_types");
  const auto single = model_of(1), wide = model_of(2, DType::f64), again = model_of(3);
  save(folder / "s.safetensors", *single);
  load(folder / "s.safetensors", *wide);
  const Parameter& p = *single->params().sorted()[0];
  CHECK(max_diff(to_dtype(p.value, DType::f64), wide->params().sorted()[0]->value) == 0);
  save(folder / "w.safetensors", *wide);
  load(folder / "w.safetensors", *again);
  CHECK(parameter_hash(again->params()) == parameter_hash(single->params()));
}

TEST_CASE("checkpoint: of another model it names what differs") {
  const TempFolder folder("checkpoint_other");
  save(folder / "a.safetensors", *model_of(1));
  const auto error = [&](std::string_view yaml) {
    return message_of<CheckpointError>([&] { load(folder / "a.safetensors", *model_of(1, DType::f32, yaml)); });
  };
  const std::string wider =
      error("{d_model: 128, layers: [{mixer: {type: min_gru}, ffn: {type: mlp, expand: 2, bias: true}}]}");
  CHECK(has(wider, "`layers.0.ffn.down.weight` is [128, 128], but the model needs [128, 256]"));
  const std::string more =
      error("{d_model: 128, layers: [{mixer: {type: min_gru, conv: 3}, ffn: {type: mlp, expand: 1, bias: true}}]}");
  CHECK(has(more, "lacks `layers.0.mixer.conv.weight` [3, 128]"));
  const std::string less = error("{d_model: 128, layers: [{mixer: {type: min_gru}, ffn: {type: mlp, expand: 1}}]}");
  CHECK(has(less, "holds `layers.0.ffn.down.bias`, which the model of this configuration lacks"));
  CHECK(has(less, "a.safetensors"));
}

TEST_CASE("checkpoint: values that are not finite are never written, and what is there stays") {
  const TempFolder folder("checkpoint_nan");
  const auto m = model_of(1);
  save(folder / "a.safetensors", *m);
  const std::string before = slurp(folder / "a.safetensors");
  const Tensor weight = m->params().find("layers.0.mixer.in.weight")->value;
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    put(weight, 2, 5, bad);
    const std::string message = message_of<CheckpointError>([&] { save(folder / "a.safetensors", *m); });
    CHECK(has(message, "layers.0.mixer.in.weight"));
    CHECK(has(message, "row 2, column 5"));
    CHECK(slurp(folder / "a.safetensors") == before);
  }
}

TEST_CASE("checkpoint: files of others and of later versions are refused") {
  const TempFolder folder("checkpoint_version");
  const float x = 1;
  const StoredTensor t{"embedding.weight", StoredType::f32, {1}, reinterpret_cast<const std::byte*>(&x), 4};
  write_safetensors(folder / "foreign", {t}, {{"format", "pt"}});
  write_safetensors(folder / "later", {t}, {{"effllm_format", "checkpoint"}, {"format_version", "3"}});
  const auto error = [&](const std::string& name) {
    return message_of<CheckpointError>([&] { require_checkpoint(SafetensorsFile(folder / name), name); });
  };
  CHECK(has(error("foreign"), "is it a checkpoint of effllm?"));
  CHECK(has(error("later"), "format version 3; this program reads versions 1 to 2"));
}
