// What a checkpoint says of its run comes back as it was, and what it can't say is refused by file and field.
#include "train/run_record.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "support/mutate.h"
#include "support/paths.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

RunRequest request(const TinyFolder& t, bool resume) { return test::request(t, {"train.max_steps=20"}, resume); }

// That of a run which started with the weights of another.
void add_origin(MetadataMap& m) {
  m["from_checkpoint"] = "runs/other/ckpt/best.safetensors";
  m["from_parameters_sha256"] = m.at("parameters_sha256");
  m["from_step"] = "3";
}

// The exit code of what `call` throws and its message; 0 where it throws nothing.
template <class Call>
std::pair<int, std::string> end_of(Call call) {
  try {
    call();
    return {0, ""};
  } catch (const Error& e) {
    return {static_cast<int>(e.code()), e.what()};
  }
}

}  // namespace

TEST_CASE("run record: what a run knows comes back from its checkpoint") {
  const TinyFolder t("record");
  const RunOutcome done = Run(request(t, false)).train();
  const std::string path = (done.folder / "ckpt/step_000000020.safetensors").string();
  const RunRecord r = read_record(SafetensorsFile(path), path);
  const Corpus corpus = Corpus::open((t / "data/tiny.yaml").string());
  CHECK(r.version == kCheckpointVersion);
  CHECK(r.defaults == kCheckpointVersion);
  CHECK(r.step == 20);
  REQUIRE(r.counters);
  CHECK(r.counters->tokens == 20 * 4 * 16);
  CHECK(r.counters->samples == 20 * 4);
  CHECK(r.counters->optimizer_steps == 20);
  CHECK(r.counters->best_step == 20);
  CHECK(r.counters->best_val == done.best_val);
  CHECK(differences(r.corpus, corpus.identity()).empty());
  CHECK(r.corpus.hash() == corpus.identity().hash());
  CHECK(r.corpus_name == "tiny");
  CHECK(r.manifest == corpus.file().string());
  CHECK(not_recorded(r, path).empty());
  CHECK(to_yaml(write_run_config(r.config)).find("d_model: 16") != std::string::npos);
  copy_with_metadata(path, t / "of_task.safetensors", [](MetadataMap& m) {
    m["data_splits"] = "none";
    m["data_task"] = "parity, seed 3";
  });
  const std::string of_task = (t / "of_task.safetensors").string();
  CHECK(read_record(SafetensorsFile(of_task), of_task).corpus.task == "parity, seed 3");
}

TEST_CASE("run record: metadata that can't be is exit 4 by file and field, for who evaluates and who resumes") {
  const TinyFolder t("record_damaged");
  const fs::path run = Run(request(t, false)).train().folder, file = run / "ckpt/step_000000020.safetensors",
                 good = t / "good.safetensors";
  fs::copy_file(file, good);
  const auto refused = [&](const std::string& key, const auto& change) {
    copy_with_metadata(good, file, change);
    const auto loaded = end_of([&] { load_model(file); });
    const auto resumed = end_of([&] { const Run again(request(t, true)); });
    for (const auto& [code, message] : {loaded, resumed}) {
      CHECK(code == 4);
      CHECK_MESSAGE(has(message, file.string() + ": the metadata"), message);
      CHECK_MESSAGE(has(message, "`" + key + "`"), message);
    }
  };
  const std::vector<std::pair<std::string, Words>> bad = {
      {"step", {"-5", "abc", "1000000000000000000", "20.5", " 20", "", "99999999999999999999999"}},
      {"tokens", {"-1", "1e3"}},
      {"samples", {"-4", "many"}},
      {"first_batch", {"0", "-4", "4.0"}},
      {"from_parameters_sha256", {"short"}},
      {"from_step", {"-1", "last"}},
      {"flops", {"inf", "nan", "-1"}},
      {"wall_s", {"-0.5", "soon"}},
      {"best_val", {"abc", "inf", "nan"}},  // but a best_step
      {"best_step", {"-2", "21"}},
      {"optimizer_steps", {"-1", "21"}},
      {"skipped_in_row", {"-1"}},
      {"row_loss_count", {"0x5"}},
      {"row_loss_sum", {"nan"}},
      {"shown_loss", {"1,5"}},
      {"data_sha256", {"short"}},
      {"data_train_end", {"0"}},
      {"data_val_end", {"1"}},  // before train ends
      {"data_splits", {"perhaps"}},
      {"defaults_version", {"3"}},
      {"config_yaml", {"", "model: {layers: [", "model: {d_model: 16}"}},
      {"vocab", {"", R"({"kind":"char","symbols":"ba"})", R"({"kind":"words"})"}}};
  for (const auto& [key, values] : bad)
    for (const std::string& value : values) {
      CAPTURE(key);
      CAPTURE(value);
      refused(key, [&, k = key](MetadataMap& m) {
        if (k.starts_with("from_")) add_origin(m);
        m[k] = value;
      });
    }
  for (const char* key : {"step", "tokens", "samples", "best_val", "config_yaml", "vocab", "data_sha256", "data_splits",
                          "data_val_end", "data_separator", "defaults_version"}) {
    CAPTURE(key);
    refused(key, [&](MetadataMap& m) { m.erase(key); });
  }
  for (const char* key : {"from_checkpoint", "from_parameters_sha256", "from_step"}) {
    CAPTURE(key);
    refused(key, [&](MetadataMap& m) { add_origin(m), m.erase(key); });
  }
  copy_with_metadata(good, file, add_origin);
  CHECK(load_model(file).origin->step == 3);
  fs::copy_file(good, file, fs::copy_options::overwrite_existing);
  CHECK(load_model(file).step == 20);
  CHECK(end_of([&] { const Run again(request(t, true)); }).first == 0);
}

TEST_CASE("run record: a step that is not the file's, or weights without counters, can't be resumed") {
  const TinyFolder t("record_other_step");
  const fs::path run = Run(request(t, false)).train().folder, file = run / "ckpt/step_000000020.safetensors",
                 good = t / "good.safetensors";
  fs::copy_file(file, good);
  copy_with_metadata(good, file, [](MetadataMap& m) { m["step"] = "21"; });
  const auto [code, message] = end_of([&] { const Run again(request(t, true)); });
  CHECK(code == 4);
  CHECK(has(message, "`step` is `21`: the file's name says 20"));
  export_model(load_model(good), t / "out");
  fs::copy_file(t / "out/model.safetensors", file, fs::copy_options::overwrite_existing);
  CHECK(load_model(file).step == 20);
  const auto weights = end_of([&] { const Run again(request(t, true)); });
  CHECK(weights.first == 4);
  CHECK(has(weights.second, "has no `optimizer_steps`"));
}

TEST_CASE("run record: values that are not finite are exit 6 by file and tensor, negative second moments exit 4") {
  const TinyFolder t("record_values");
  const fs::path run = Run(request(t, false)).train().folder, file = run / "ckpt/step_000000020.safetensors",
                 good = t / "good.safetensors";
  fs::copy_file(file, good);
  const float nan = std::nanf(""), infinite = std::numeric_limits<float>::infinity();
  for (const auto& [tensor, value, code] :
       std::vector<std::tuple<std::string, float, int>>{{"embedding.weight", nan, 6},
                                                        {"layers.1.mixer.out.weight", -infinite, 6},
                                                        {"opt.m.embedding.weight", nan, 6},
                                                        {"opt.m.embedding.weight", -1, 0},
                                                        {"opt.v.layers.2.mixer.in.weight", nan, 6},
                                                        {"opt.v.layers.2.mixer.in.weight", infinite, 6},
                                                        {"opt.v.layers.2.mixer.in.weight", -1e-20F, 4}}) {
    CAPTURE(tensor);
    copy_with_number(good, file, tensor, value);
    const auto resumed = end_of([&] { const Run again(request(t, true)); });
    CHECK(resumed.first == code);
    if (code) CHECK_MESSAGE(has(resumed.second, file.string() + ": `" + tensor + "` holds "), resumed.second);
    CHECK(end_of([&] { load_model(file); }).first == (tensor.starts_with("opt.") ? 0 : code));
  }
}

TEST_CASE(
    "run record: of format version 1 the text is known, the rest is not recorded, and its place is steps x batch") {
  const fs::path file = fs::path(kSourceDir) / "tests/golden/checkpoint.version_1.safetensors";
  const RunRecord r = read_record(SafetensorsFile(file), file.string());
  CHECK(r.version == 1);
  CHECK(r.defaults == 1);
  CHECK_FALSE(r.corpus.complete());
  CHECK(r.corpus.sha256 == "e0c15106f1b42154b37059ccca5cc9dcc6cd6cd8d10b2f3f29ff637ceb94f246");
  REQUIRE(r.counters);
  CHECK(r.counters->samples == 400);
  CHECK(has(not_recorded(r, "x"), "x does not say where splits and documents end"));
  const TinyFolder t("record_version_1");
  // What is exported from it says so too.
  export_model(load_model(file), t / "out");
  const fs::path out = t / "out/model.safetensors";
  const RunRecord again = read_record(SafetensorsFile(out), out.string());
  CHECK(again.version == 2);
  CHECK(again.defaults == 1);
  CHECK_FALSE(again.corpus.complete());
  CHECK_FALSE(again.counters);
  CHECK(differences(again.corpus, Corpus::open((t / "data/tiny.yaml").string()).identity()).empty());
}
