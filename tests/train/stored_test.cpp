// What earlier versions left behind: a checkpoint of each format version still loads and predicts what it did, and a
// tiny run still learns along the curve on file. To write both anew, which is right only where a format or the
// arithmetic of training was meant to change: EFFLLM_STORE=1 effllm_tests -tc="stored*".
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>

#include "eval/evaluator.h"
#include "support/models.h"
#include "support/paths.h"
#include "support/tiny_run.h"
#include "train/loaded_model.h"
#include "train/run.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

const fs::path kGolden = fs::path(kSourceDir) / "tests/golden";
const bool kStore = std::getenv("EFFLLM_STORE") != nullptr;

fs::path trained(const TinyFolder& t) {
  const RunRequest request{.config = read_run_config(load_config(t / "c.yaml"), t / "c.yaml"),
                           .config_text = "",
                           .overrides = "",
                           .runs = t.runs(),
                           .resume = false,
                           .quiet = true};
  return Run(request).train().folder;
}

double nats_on_validation(const TinyFolder& t, const fs::path& checkpoint) {
  const LoadedModel m = load_model(checkpoint, DType::f64);
  const Corpus corpus = Corpus::open((t / "data/tiny.yaml").string());
  const EvalOptions o{.tokens = 16, .max_tokens = 400};
  return evaluate(*m.model, corpus.tokenize(*m.tokenizer, Split::val), *m.tokenizer, o).nats_per_token();
}

// Numbers of a file, one a line.
std::vector<double> numbers(const fs::path& file) {
  std::vector<double> all;
  std::ifstream in(file);
  for (double v; in >> v;) all.push_back(v);
  return all;
}

}  // namespace

TEST_CASE("stored: a checkpoint of format version 1 loads, and predicts what it did when it was written") {
  const TinyFolder t("stored_checkpoint");
  const fs::path file = kGolden / "checkpoint.version_1.safetensors", value = kGolden / "checkpoint.version_1.txt";
  if (kStore) {
    fs::copy_file(trained(t) / "ckpt/best.safetensors", file, fs::copy_options::overwrite_existing);
    spill(value, fmt::format("{:.15g}\n", nats_on_validation(t, file)));
  }
  REQUIRE(numbers(value).size() == 1);
  CHECK(load_model(file).step == 100);
  CHECK(nats_on_validation(t, file) == doctest::Approx(numbers(value)[0]).epsilon(1e-9));
}

// In f64, where no instruction set's rounding grows to be seen.
TEST_CASE("stored: a tiny hybrid learns along the curve on file") {
  const TinyFolder t("stored_losses");
  const RunConfig c = read_run_config(load_config(t / "c.yaml"), t / "c.yaml");
  const Corpus corpus = Corpus::open((t / "data/tiny.yaml").string());
  const auto tokenizer = build_tokenizer(c.data.tokenizer, corpus.text());
  const TokenizedText text = corpus.tokenize(*tokenizer, Split::train);
  const auto order = build_order(c.data.order, text, {c.train.batch, c.train.context}, 1, false);
  LanguageModel model(c.model, tokenizer->vocab_size());
  model.params().materialize(1, DType::f64);
  AdamW optimizer(c.optim, c.groups, model.params());
  Trainer trainer(model, optimizer, plan_shards(c.train.batch, c.train.context, 2, 0, model.params().count()), {});
  std::vector<double> losses;
  for (int64_t step = 0; step < 30; ++step)
    losses.push_back(trainer.step(order->at(step * c.train.batch), step, schedule_factor(c.schedule, step, 0)).loss);

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
