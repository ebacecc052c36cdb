// What a run writes beside its journal: configuration, provenance, checkpoints, metrics.h5, status.
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/escapes.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/out_of_memory.h"
#include "base/text.h"
#include "base/version.h"
#include "config/yaml.h"
#include "io/checkpoint.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "train/kept_config.h"
#include "train/moments.h"
#include "train/run.h"

namespace effllm {

void Run::write_start_files() {
  const Activity activity("writing the run folder", "choose a smaller model.d_model");
  write_file_atomic(folder_.config(), request_.config_file.empty()
                                          ? request_.config_text
                                          : kept_config(request_.config_file, request_.config_text, config_.name,
                                                        path_text(corpus_.file().lexically_normal())));
  write_file_atomic(folder_.resolved(), to_yaml(resolved_config(config_, corpus_.file())));
  std::string overrides;
  for (const std::string& s : request_.overrides) overrides += kept_override(s, config_.folder) + "\n";
  write_file_atomic(folder_.overrides(), overrides);
  const BuildInfo& build = build_info();
  nlohmann::json provenance = {
      {"effllm_version", build.version},
      {"git", build.git},
      {"build_type", build.build_type},
      {"compiler", build.compiler},
      {"cpu_model", cpu_model()},
      {"isa", std::string(isa())},
      {"gemm", gemm_backend()},
      {"threads", threads()},
      {"lanes", trainer_->plan().lanes.size()},
      {"hostname", host_name()},
      {"started_utc", utc_now()},
      {"config_sha256", experiment_hash(config_)},
      {"data_sha256", corpus_.manifest().sha256},
      {"data_hash", corpus_.identity().hash()},
      {"corpus_manifest", path_text(corpus_.file())},
      {"parameters", model_->params().count()},
      {"flops_per_token", flops_per_token_},
  };
  if (origin_)
    provenance["from"] = {{"checkpoint", origin_->checkpoint},
                          {"step", origin_->step},
                          {"parameters_sha256", origin_->parameters_sha256}};
  provenance_ = provenance.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
  write_file_atomic(folder_.provenance(), provenance_);
  if (!journal_) {
    journal_ = std::make_unique<Journal>(folder_.journal());
    journal_->header(folder_.path().filename().string(), experiment_hash(config_));
  }
  for (const std::string& note : request_.notes)
    journal_->event(at_.step, note.starts_with("warning: ") ? "warning" : "info", note, at_.seconds);
  lap(at_.other_seconds);
  write_status("running");
  write_metrics("running");
}

void Run::save() {
  if (saved_step_ == at_.step && saved_best_ == at_.best_step) return;
  const Activity activity("saving a checkpoint", "choose a smaller model.d_model");
  lap(at_.other_seconds);
  std::vector<NamedTensor> more = moments(*optimizer_);
  for (const auto& c : trainer_->carried()) more.push_back({c.name, c.value});
  at_.optimizer_steps = optimizer_->steps();
  const RunRecord record{.defaults = defaults_,
                         .config = config_,
                         .vocab = tokenizer_->to_json(),
                         .corpus = corpus_.identity(),
                         .corpus_name = corpus_.manifest().name,
                         .manifest = corpus_.file(),
                         .earlier_data = earlier_data_,
                         .origin = origin_,
                         .step = at_.step,
                         .counters = at_};
  std::map<std::string, std::string> metadata = to_metadata(record);
  const BuildInfo& build = build_info();
  metadata.insert({{"effllm_version", build.version},
                   {"git", build.git},
                   {"created_utc", utc_now()},
                   {"experiment_sha256", experiment_hash(config_)},
                   {"parameters_sha256", parameter_hash(model_->params())}});
  journal_->sync();  // no checkpoint is ahead of its rows
  if (aside_)
    if (const auto kept = folder_.set_best_aside(*std::exchange(aside_, std::nullopt)))
      say(fmt::format("{} keeps the best of the run before the change", path_text(*kept)));
  save_checkpoint(folder_.checkpoint(at_.step), model_->params(), more, metadata);
  saved_step_ = at_.step;
  saved_best_ = at_.best_step;
  if (at_.best_step == at_.step) folder_.mark_best(at_.step);
  folder_.rotate(config_.train.keep);
  lap(at_.save_seconds);
  write_status("running");
  if (metrics_budget_.due(lapped_)) write_metrics("running");
  lap(at_.save_seconds);
}

void Run::write_status(std::string_view status) {
  nlohmann::json s = {{"status", std::string(status)}, {"step", at_.step},
                      {"tokens", at_.tokens},          {"wall_s", at_.seconds},
                      {"save_s", at_.save_seconds},    {"other_s", at_.other_seconds},
                      {"best_step", at_.best_step},    {"progress", std::min(1.0, progress())}};
  s["train_loss"] =
      at_.shown_loss > 0 && std::isfinite(at_.shown_loss) ? nlohmann::json(at_.shown_loss) : nlohmann::json();
  s["best_val"] = std::isfinite(at_.best_val) ? nlohmann::json(at_.best_val) : nlohmann::json();
  write_file_atomic(folder_.status(), s.dump() + "\n");
}

// Reads and writes every row of the run: how often is for the budget to say, except at the start, the end and on
// request.
void Run::write_metrics(std::string_view status) {
  lap(at_.save_seconds);
  const double start = lapped_;
  const BuildInfo& build = build_info();
  write_hdf5(folder_.metrics(),
             to_hdf5(read_journal(folder_.journal()),
                     {{"effllm_version", build.version},
                      {"git_sha", build.git},
                      {"build_type", build.build_type},
                      {"compiler", build.compiler},
                      {"cpu_model", cpu_model()},
                      {"isa", std::string(isa())},
                      {"status", std::string(status)},
                      {"data_sha256", corpus_.manifest().sha256}},
                     {{"seed", config_.train.seed}, {"threads", threads()}, {"param_count", model_->params().count()}},
                     {{"config_yaml", to_ascii_yaml(resolved_config(config_, corpus_.file()))},
                      {"provenance_json", provenance_}}));
  lap(at_.save_seconds);
  metrics_budget_.spent(start, lapped_);
}

}  // namespace effllm
