// A small world with a study in it.
#pragma once
#include <map>

#include "cli/trained.h"

namespace effllm::test {

inline constexpr const char* kStudy =
    "base: base.yaml\n"
    "arms:\n"
    "  gru: {\"model.layers[0].mixer\": {type: gru}}\n"
    "  min_gru: {\"model.layers[0].mixer\": {type: min_gru}}\n"
    "seeds: 2\n"
    "tune: {optim.lr: [3e-3, 1e-2]}\n";

struct StudyWorld : World {
  StudyWorld() {
    spill(scratch.path / "base.yaml",
          "model: {d_model: 16, block: {ffn: {type: mlp, expand: 2}}, layers: [{mixer: {type: gru}}]}\n"
          "data: {corpus: own, tokenizer: char}\n"
          "train: {batch: 4, context: 32, max_steps: 40, lanes: 2, log_every: 5}\n"
          "optim: {schedule: {warmup: 1}}\n"
          "eval: {sample_tokens: 0}\n");
    study(kStudy);
  }
  void study(const std::string& text) const { spill(scratch.path / "study.yaml", text); }
  // Every result of a study's folder, by the name of its file.
  std::map<std::string, std::string> results(const std::string& folder) const {
    std::map<std::string, std::string> all;
    for (const auto& e : std::filesystem::directory_iterator(scratch.path / folder / "results"))
      all[e.path().filename().string()] = slurp(e.path());
    return all;
  }
  // Without seconds, which differ from one time to the next.
  nlohmann::json table(const std::string& folder) const {
    nlohmann::json t = nlohmann::json::parse(ok({"compare", folder, "--json"}).out);
    t.erase("time");
    for (nlohmann::json& a : t.at("arms")) a.at("speedup").erase("seconds");
    return t;
  }
};

}  // namespace effllm::test
