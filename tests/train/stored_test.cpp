// What earlier versions left behind: a checkpoint of each format version still loads and predicts what it did, its run
// goes on, and a tiny run still learns along the curve on file. To write the curve and the checkpoint of today's
// version anew, which is right only where a format or the arithmetic of training was meant to change: EFFLLM_STORE=1
// effllm_tests -tc="stored*".
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>

#include "eval/evaluator.h"
#include "support/models.h"
#include "support/named.h"
#include "support/paths.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

const fs::path kGolden = fs::path(kSourceDir) / "tests/golden";
const bool kStore = std::getenv("EFFLLM_STORE") != nullptr;

fs::path checkpoint_of(int version) { return kGolden / fmt::format("checkpoint.version_{}.safetensors", version); }
fs::path value_of(fs::path checkpoint) { return checkpoint.replace_extension(".txt"); }

fs::path trained(const TinyFolder& t) { return Run(request(t)).train().folder; }

double nats_on_validation(const TinyFolder& t, const fs::path& checkpoint) {
  const LoadedModel m = load_model(checkpoint, DType::f64);
  const Corpus corpus = Corpus::open((t / "data/tiny.yaml").string());
  const EvalOptions o{.tokens = 16, .max_tokens = 400};
  return evaluate(*m.model, next_token(), corpus.tokenize(*m.tokenizer, Split::val), *m.tokenizer, o).nats_per_token();
}

// Numbers of a file, one a line.
std::vector<double> numbers(const fs::path& file) {
  std::vector<double> all;
  std::ifstream in(file);
  for (double v; in >> v;) all.push_back(v);
  return all;
}

}  // namespace

TEST_CASE("stored: a checkpoint of each format version loads, and predicts what it did when it was written") {
  const TinyFolder t("stored_checkpoint");
  const fs::path now = checkpoint_of(kCheckpointVersion);
  if (kStore) {  // earlier ones are written no more
    fs::copy_file(trained(t) / "ckpt/best.safetensors", now, fs::copy_options::overwrite_existing);
    spill(value_of(now), fmt::format("{:.15g}\n", nats_on_validation(t, now)));
  }
  for (int version = 1; version <= kCheckpointVersion; ++version) {
    CAPTURE(version);
    const fs::path file = checkpoint_of(version);
    CHECK(SafetensorsFile(file).metadata().at("format_version") == fmt::format("{}", version));
    REQUIRE(numbers(value_of(file)).size() == 1);
    CHECK(load_model(file).step == 100);
    CHECK(nats_on_validation(t, file) == doctest::Approx(numbers(value_of(file))[0]).epsilon(1e-9));
  }
}

TEST_CASE("stored: a run of each format version goes on, and ends as one of today's") {
  for (int version = 1; version <= kCheckpointVersion; ++version) {
    CAPTURE(version);
    const TinyFolder t("stored_run");
    fs::create_directories(t / "runs/c/ckpt");
    fs::copy_file(checkpoint_of(version), t / "runs/c/ckpt/step_000000100.safetensors");
    const fs::path last = train(t, {"train.max_steps=103"}, true).folder / "ckpt/step_000000103.safetensors";
    const RunRecord r = read_record(SafetensorsFile(last), last.string());
    CHECK(r.version == kCheckpointVersion);
    CHECK(r.defaults == version);
    CHECK(r.corpus.complete());
    REQUIRE(r.counters);
    CHECK(r.counters->tokens == 103 * 4 * 16);
    CHECK(r.counters->samples == 103 * 4);
    CHECK(r.counters->optimizer_steps == 103);
    // What a version did not record is said, once.
    const std::string log = slurp(t / "runs/c/log.txt"), said = "which format version 1 did not record";
    CHECK((log.find(said) != log.npos) == (version < 2));
    CHECK(log.find(said) == log.rfind(said));
  }
}

// In f64, where no instruction set's rounding grows to be seen.
TEST_CASE("stored: a tiny hybrid learns along the curve on file") {
  const TinyFolder t("stored_losses");
  const RunConfig c = read_run_config(load_config(t / "c.yaml"), t / "c.yaml");
  const Corpus corpus = Corpus::open((t / "data/tiny.yaml").string());
  const auto tokenizer = corpus.tokenizer(c.data.tokenizer);
  const TokenizedText text = corpus.tokenize(*tokenizer, Split::train);
  const auto order = build_order(c.data.order.name(), text, {c.train.batch, c.train.context}, 1, false);
  LanguageModel model(c.model, tokenizer->vocab_size());
  model.params().materialize(1, DType::f64);
  const auto optimizer = build_optimizer(c.optim, c.groups, model.params());
  Trainer trainer(model, next_token(), *optimizer,
                  plan_shards(c.train.batch, c.train.context, 2, 0, model.params().count()), {});
  std::vector<double> losses;
  for (int64_t step = 0; step < 30; ++step)
    losses.push_back(
        trainer.step(order->at(step * c.train.batch), step, c.schedule.type.build()->factor(step, 0)).loss);

  const fs::path file = kGolden / "tiny_run.losses.txt";
  if (kStore) {
    std::string numbers;
    for (double v : losses) numbers += fmt::format("{:.12g}\n", v);
    spill(file, numbers);
  }
  const std::vector<double> stored = numbers(file);
  REQUIRE(stored.size() == losses.size());
  for (size_t i = 0; i < losses.size(); ++i) CHECK(losses[i] == doctest::Approx(stored[i]).epsilon(1e-8));
}
