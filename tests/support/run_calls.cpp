#include "support/run_calls.h"

#include <doctest/doctest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/metadata.h"

namespace effllm::test {

RunRequest request(const TinyFolder& t, const Sets& set, bool resume) {
  ConfigNode root = load_config(t / "c.yaml");
  int index = 0;
  for (const auto& s : set) apply_override(root, s, ++index);
  return {.config = read_run_config(root, t / "c.yaml"),
          .written = {.text = "written"},
          .runs = t.runs(),
          .resume = resume,
          .quiet = true};
}

RunOutcome train(const TinyFolder& t, const Sets& set, bool resume) { return Run(request(t, set, resume)).train(); }

std::string hash_of(const std::filesystem::path& checkpoint) {
  const SafetensorsFile file(checkpoint);
  return Metadata(file, checkpoint.string()).text("parameters_sha256");
}

std::vector<double> losses(const std::filesystem::path& run) {
  const JournalData j = read_journal(run / "metrics.jsonl");
  const JournalTable* t = j.find("train");
  REQUIRE(t);
  return *t->find("loss");
}

std::string events(const std::filesystem::path& run) {
  std::string all;
  for (const auto& e : read_journal(run / "metrics.jsonl").events) all += e.level + ": " + e.text + "\n";
  return all;
}

}  // namespace effllm::test
