#include "train/run_files.h"

#include <algorithm>
#include <cmath>

#include "base/escapes.h"
#include "base/json.h"
#include "base/version.h"
#include "config/yaml.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "store/file.h"
#include "train/kept_config.h"

namespace effllm {
namespace {

// What is built and where it runs; `git` is the commit's key.
std::vector<std::pair<std::string, std::string>> build_facts(const char* git) {
  const BuildInfo& build = build_info();
  return {{"effllm_version", build.version}, {git, build.git},           {"build_type", build.build_type},
          {"compiler", build.compiler},      {"cpu_model", cpu_model()}, {"isa", std::string(isa())}};
}

nlohmann::json or_null(bool known, double value) { return known ? nlohmann::json(value) : nlohmann::json(); }

}  // namespace

void RunFiles::write_configuration(const WrittenConfig& written) {
  const auto& [text, overrides, file] = written;
  const RunConfig& config = run_.x.config;
  const std::filesystem::path& corpus = run_.x.corpus.file();
  write_file_atomic(run_.folder.config(),
                    file.empty() ? text : kept_config(file, text, config.name, path_text(corpus.lexically_normal())));
  write_file_atomic(run_.folder.resolved(), to_yaml(resolved_config(config, corpus)));
  std::string lines;
  for (const std::string& s : overrides) lines += kept_override(s, config.folder) + "\n";
  write_file_atomic(run_.folder.overrides(), lines);
}

void RunFiles::write_provenance() {
  const Experiment& x = run_.x;
  nlohmann::json provenance = {
      {"gemm", gemm_backend()},
      {"threads", threads()},
      {"lanes", x.trainer->plan().lanes.size()},
      {"hostname", host_name()},
      {"started_utc", utc_now()},
      {"config_sha256", experiment_hash(x.config)},
      {"data_sha256", x.corpus.manifest().sha256},
      {"data_hash", x.corpus.identity().hash()},
      {"corpus_manifest", path_text(x.corpus.file())},
      {"parameters", x.model->params().count()},
      {"flops_per_token", x.flops_per_token},
  };
  for (const auto& [key, value] : build_facts("git")) provenance[key] = value;
  if (const auto& origin = run_.lineage.origin)
    provenance["from"] = {
        {"checkpoint", origin->checkpoint}, {"step", origin->step}, {"parameters_sha256", origin->parameters_sha256}};
  if (!run_.lineage.grown.empty()) provenance["grown"] = run_.lineage.grown;
  provenance_ = provenance.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
  write_file_atomic(run_.folder.provenance(), provenance_);
}

void RunFiles::write_status(std::string_view status) {
  const RunCounters& at = run_.at;
  const nlohmann::json s = {
      {"status", std::string(status)},
      {"step", at.step},
      {"tokens", at.tokens},
      {"wall_s", at.seconds},
      {"save_s", at.save_seconds},
      {"other_s", at.other_seconds},
      {"best_step", at.best_step},
      {"progress", std::min(1.0, run_.progress())},
      {"train_loss", or_null(at.shown_loss > 0 && std::isfinite(at.shown_loss), at.shown_loss)},
      {"best_val", or_null(std::isfinite(at.best_val), at.best_val)},
      {"bound", run_.x.objective->bound()},
      {"train_bound", run_.x.objective->bound() && run_.x.objective->trains_score()},
  };
  write_file_atomic(run_.folder.status(), s.dump() + "\n");
}

void RunFiles::write_metrics(std::string_view status) {
  run_.clock.lap(run_.at.save_seconds);
  const double start = run_.clock.last();
  const Experiment& x = run_.x;
  auto facts = build_facts("git_sha");
  facts.emplace_back("status", status);
  facts.emplace_back("data_sha256", x.corpus.manifest().sha256);
  write_hdf5(
      run_.folder.metrics(),
      to_hdf5(read_journal(run_.folder.journal()), run_.log.journal->metrics(), facts,
              {{"seed", x.config.train.seed}, {"threads", threads()}, {"param_count", x.model->params().count()}},
              {{"config_yaml", to_ascii_yaml(resolved_config(x.config, x.corpus.file()))},
               {"provenance_json", provenance_}}));
  budget_.spent(start, run_.clock.lap(run_.at.save_seconds));
}

}  // namespace effllm
