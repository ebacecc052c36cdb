// What a run writes beside its journal: configuration, provenance, checkpoints, metrics.h5, status.
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/escapes.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/version.h"
#include "io/checkpoint.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "train/loaded_model.h"
#include "train/run.h"

namespace effllm {
namespace {

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

double number(const SafetensorsFile& file, const std::string& path, const std::string& key) {
  return std::strtod(metadata_of(file, path, key).c_str(), nullptr);
}

int64_t integer(const SafetensorsFile& file, const std::string& path, const std::string& key) {
  return std::strtoll(metadata_of(file, path, key).c_str(), nullptr, 10);
}

// The optimizer's moments under their names, as views of the slabs.
std::vector<NamedTensor> moments(const AdamW& optimizer, const ParamStore& store) {
  std::vector<NamedTensor> all;
  for (const Parameter* p : store.sorted()) {
    all.push_back({"opt.m." + p->name, store.view(optimizer.m(), *p)});
    all.push_back({"opt.v." + p->name, store.view(optimizer.v(), *p)});
  }
  return all;
}

}  // namespace

void Run::write_start_files() {
  write_file_atomic(folder_.config(), request_.config_text);
  write_file_atomic(folder_.resolved(), to_yaml(write_run_config(config_)));
  write_file_atomic(folder_.overrides(), request_.overrides);
  const BuildInfo& build = build_info();
  const nlohmann::json provenance = {
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
      {"parameters", model_->params().count()},
      {"flops_per_token", flops_per_token_},
  };
  write_file_atomic(folder_.provenance(),
                    provenance.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  if (!journal_) {
    journal_ = std::make_unique<Journal>(folder_.journal());
    journal_->header(folder_.path().filename().string(), experiment_hash(config_));
  }
  write_views("running");
}

void Run::resume_from_newest() {
  std::vector<std::string> refused;
  const auto step = folder_.newest_valid(refused);
  for (const auto& r : refused) say("passed over a checkpoint: " + r);
  std::error_code error;
  const bool journal_exists = std::filesystem::exists(folder_.journal(), error);
  if (!step) {
    if (!refused.empty())
      throw CheckpointError("{}: no checkpoint can be read ({}); move the folder away to start anew",
                            folder_.path().string(), refused.front());
    if (journal_exists) {  // it was killed before its first checkpoint
      journal_ = std::make_unique<Journal>(folder_.journal());
      journal_->resume(0, "the start");
    }
    return;
  }
  const std::string path = folder_.checkpoint(*step).string();
  const SafetensorsFile file(path);
  require_checkpoint(file, path);
  if (metadata_of(file, path, "data_sha256") != corpus_.manifest().sha256)
    throw DataError("{}: was trained on a corpus with SHA-256 {}, but `{}` now has {}. Train anew without --resume",
                    path, metadata_of(file, path, "data_sha256"), corpus_.manifest().name, corpus_.manifest().sha256);
  if (metadata_of(file, path, "vocab") != tokenizer_->to_json())
    throw CheckpointError("{}: has another vocabulary than data.tokenizer gives", path);
  load_parameters(file, path, model_->params());
  for (const auto& m : moments(*optimizer_, model_->params()))
    if (!load_tensor(file, path, m.name, m.value)) throw CheckpointError("{}: lacks `{}`", path, m.name);
  at_.step = integer(file, path, "step");
  at_.tokens = integer(file, path, "tokens");
  at_.flops = number(file, path, "flops");
  at_.seconds = number(file, path, "wall_s");
  at_.best_val = number(file, path, "best_val");
  at_.best_step = integer(file, path, "best_step");
  at_.skipped_in_row = integer(file, path, "skipped_in_row");
  shown_loss_ = number(file, path, "shown_loss");
  loss_sum_ = number(file, path, "row_loss_sum");
  loss_count_ = integer(file, path, "row_loss_count");
  optimizer_->set_steps(integer(file, path, "optimizer_steps"));
  forget_other_best(file, path);
  saved_step_ = at_.step;
  saved_best_ = at_.best_step;
  for (const auto& c : trainer_->carried())
    if (!load_tensor(file, path, c.name, c.value))
      throw CheckpointError("{}: lacks the carried state `{}`", path, c.name);
  if (metadata_of(file, path, "experiment_sha256") != experiment_hash(config_))
    say("the configuration differs from the checkpoint's; its weights and moments fit, and go on under the new one");
  mark_best_again();
  journal_ = std::make_unique<Journal>(folder_.journal());
  journal_->resume(at_.step, std::filesystem::path(path).filename().string());
  const JournalData rows = read_journal(folder_.journal());
  if (const JournalTable* t = rows.find(config_.eval.split)) journaled_step_ = t->step.back();
}

// A loss is the best only among those that were measured alike.
void Run::forget_other_best(const SafetensorsFile& checkpoint, const std::string& path) {
  const auto how = [](const RunConfig& c) { return c.eval.split + ", " + describe(evaluation_of(c)); };
  const std::string before = how(config_in(checkpoint, path)), after = how(config_);
  if (before == after || at_.best_step < 0) return;
  say(fmt::format("evaluated from now on by {} instead of {}: the best loss starts anew", after, before));
  at_.best_val = std::numeric_limits<double>::quiet_NaN();
  at_.best_step = -1;
}

// A kill may have come between the checkpoint and its mark.
void Run::mark_best_again() {
  const auto step_of = [](const std::filesystem::path& file) -> int64_t {
    try {
      return integer(SafetensorsFile(file), file.string(), "step");
    } catch (const Error&) {  // it is missing or damaged
      return -1;
    }
  };
  if (at_.best_step < 0 || step_of(folder_.best()) == at_.best_step) return;
  if (step_of(folder_.checkpoint(at_.best_step)) == at_.best_step) folder_.mark_best(at_.best_step);
}

void Run::save() {
  if (saved_step_ == at_.step && saved_best_ == at_.best_step) return;
  std::vector<NamedTensor> more = moments(*optimizer_, model_->params());
  for (const auto& c : trainer_->carried()) more.push_back({c.name, c.value});
  const BuildInfo& build = build_info();
  save_checkpoint(folder_.checkpoint(at_.step), model_->params(), more,
                  {{"effllm_version", build.version},
                   {"git", build.git},
                   {"created_utc", utc_now()},
                   {"config_yaml", to_yaml(write_run_config(config_))},
                   {"experiment_sha256", experiment_hash(config_)},
                   {"data_sha256", corpus_.manifest().sha256},
                   {"corpus", corpus_.manifest().name},
                   {"corpus_manifest", path_text(corpus_.file())},
                   {"vocab", tokenizer_->to_json()},
                   {"parameters_sha256", parameter_hash(model_->params())},
                   {"step", fmt::format("{}", at_.step)},
                   {"tokens", fmt::format("{}", at_.tokens)},
                   {"flops", shortest(at_.flops)},
                   {"wall_s", shortest(at_.seconds)},
                   {"best_val", shortest(at_.best_val)},
                   {"best_step", fmt::format("{}", at_.best_step)},
                   {"skipped_in_row", fmt::format("{}", at_.skipped_in_row)},
                   {"shown_loss", shortest(shown_loss_)},
                   {"row_loss_sum", shortest(loss_sum_)},
                   {"row_loss_count", fmt::format("{}", loss_count_)},
                   {"optimizer_steps", fmt::format("{}", optimizer_->steps())}});
  saved_step_ = at_.step;
  saved_best_ = at_.best_step;
  if (at_.best_step == at_.step) folder_.mark_best(at_.step);
  folder_.rotate(config_.train.keep);
  journal_->sync();
  write_views("running");
}

void Run::write_views(std::string_view status) {
  nlohmann::json s = {{"status", std::string(status)}, {"step", at_.step},
                      {"tokens", at_.tokens},          {"wall_s", at_.seconds},
                      {"best_step", at_.best_step},    {"progress", std::min(1.0, progress())}};
  s["best_val"] = std::isfinite(at_.best_val) ? nlohmann::json(at_.best_val) : nlohmann::json();
  write_file_atomic(folder_.status(), s.dump() + "\n");
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
                     {{"config_yaml", to_yaml(write_run_config(config_))}}));
}

}  // namespace effllm
