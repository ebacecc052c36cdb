#include "train/run_record.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "base/escapes.h"
#include "base/text.h"
#include "base/version.h"
#include "checkpoint/metadata.h"

namespace effllm {

template <class V>
void RunCounters::visit(V&& v) {
  v.count("step", step);
  v.count("optimizer_steps", optimizer_steps, 0, step);
  v.count("skipped_in_row", skipped_in_row, 0, step);
  v.count("tokens", tokens);
  v.count("samples", samples);
  v.count("first_batch", first_batch, 1);
  v.number("wall_s", seconds);
  v.number("save_s", save_seconds);
  v.number("other_s", other_seconds);
  v.number("flops", flops);
  v.count("best_step", best_step, -1, step);
  v.number_or_nan("best_val", best_val);
  v.number("shown_loss", shown_loss);
  v.number("row_loss_sum", row_loss_sum);
  v.count("row_loss_count", row_loss_count, 0, step);
}

namespace {

// unknown: exported from format version 1; none: of a task
constexpr const char *kKnown = "known", *kUnknown = "unknown", *kNone = "none";

// Its name is not checked again: rules of names are for new runs.
RunConfig stored_config(const Metadata& metadata) {
  try {
    ConfigNode root = parse_config(metadata.text("config_yaml"), "config_yaml");
    const ConfigNode* name = root.find("name");
    const std::string called = name ? name->text() : "";
    root.erase("name");
    RunConfig c = read_run_config(root);
    if (!called.empty()) c.name = called;
    return c;
  } catch (const ConfigError& e) {
    metadata.refuse("config_yaml", fmt::format("no configuration that this version reads:\n{}", e.what()));
  }
}

CorpusIdentity stored_identity(const Metadata& metadata, int version) {
  CorpusIdentity c{.sha256 = metadata.digest("data_sha256"), .train_end = {}, .val_end = {}, .separator = {}};
  if (version < 2 || metadata.text("data_splits") == kUnknown) return c;
  if (metadata.text("data_splits") == kNone) {
    c.task = metadata.text("data_task");
    return c;
  }
  if (metadata.text("data_splits") != kKnown)
    metadata.refuse("data_splits", fmt::format("{} or {} is needed", kKnown, kUnknown));
  c.train_end = metadata.integer("data_train_end", 1);
  c.val_end = metadata.integer("data_val_end", *c.train_end);
  c.separator = metadata.text("data_separator");
  return c;
}

// Of a checkpoint's metadata. What its version lacks stays as it is.
class ReadCounters {
 public:
  ReadCounters(const Metadata& m, std::set<std::string_view> lacking) : m_(m), lacking_(std::move(lacking)) {}
  void count(const char* name, int64_t& value, int64_t least = 0, int64_t most = kMostCounted) const {
    if (there(name)) value = m_.integer(name, least, most);
  }
  void number(const char* name, double& value) const {
    if (there(name)) value = m_.number(name);
  }
  void number_or_nan(const char* name, double& value) const { value = m_.number_or_nan(name); }

 private:
  bool there(const char* name) const { return m_.has(name) || !lacking_.contains(name); }
  const Metadata& m_;
  std::set<std::string_view> lacking_;
};

class WriteCounters {
 public:
  explicit WriteCounters(std::map<std::string, std::string>& m) : m_(m) {}
  void count(const char* name, int64_t value, int64_t = 0, int64_t = 0) const { m_[name] = fmt::format("{}", value); }
  void number(const char* name, double value) const { m_[name] = shortest(value); }
  void number_or_nan(const char* name, double value) const { number(name, value); }

 private:
  std::map<std::string, std::string>& m_;
};

RunCounters stored_counters(const Metadata& m, int version, const RunConfig& config) {
  RunCounters c;
  c.first_batch = config.train.batch;
  std::set<std::string_view> lacking = {"first_batch", "save_s", "other_s"};  // in the first of version 2
  if (version < 2) lacking.insert("samples");
  c.visit(ReadCounters(m, lacking));
  if (version < 2) {
    if (c.step > kMostCounted / config.train.batch)
      m.refuse("step", fmt::format("so many steps of {} can't have been taken", counted(config.train.batch, "sample")));
    c.samples = c.step * config.train.batch;
  }
  if (std::isnan(c.best_val) != (c.best_step < 0))
    m.refuse("best_val", fmt::format("that does not go with the `best_step` {}", c.best_step));
  return c;
}

}  // namespace

std::map<std::string, std::string> to_metadata(const RunRecord& r) {
  std::map<std::string, std::string> m = {{"config_yaml", to_yaml(write_run_config(r.config))},
                                          {"defaults_version", fmt::format("{}", r.defaults)},
                                          {"vocab", r.vocab},
                                          {"data_sha256", r.corpus.sha256},
                                          {"corpus", r.corpus_name},
                                          {"corpus_manifest", path_text(r.manifest)},
                                          {"earlier_data", r.earlier_data},
                                          {"step", fmt::format("{}", r.step)}};
  const bool splits = r.corpus.train_end && r.corpus.val_end && r.corpus.separator;
  m["data_splits"] = splits ? kKnown : r.corpus.task.empty() ? kUnknown : kNone;
  if (!r.corpus.task.empty()) m["data_task"] = r.corpus.task;
  if (splits)
    m.insert({{"data_train_end", fmt::format("{}", *r.corpus.train_end)},
              {"data_val_end", fmt::format("{}", *r.corpus.val_end)},
              {"data_separator", *r.corpus.separator}});
  if (r.origin)
    m.insert({{"from_checkpoint", r.origin->checkpoint},
              {"from_parameters_sha256", r.origin->parameters_sha256},
              {"from_step", fmt::format("{}", r.origin->step)}});
  if (!r.grown.empty()) m["grown"] = r.grown;
  if (r.counters) RunCounters(*r.counters).visit(WriteCounters(m));
  return m;
}

std::map<std::string, std::string> to_metadata(const RunRecord& record, const ParamStore& params) {
  std::map<std::string, std::string> m = to_metadata(record);
  const BuildInfo& build = build_info();
  m.insert({{"effllm_version", build.version},
            {"git", build.git},
            {"created_utc", utc_now()},
            {"experiment_sha256", experiment_hash(record.config)},
            {"parameters_sha256", parameter_hash(params)}});
  return m;
}

RunRecord read_record(const SafetensorsFile& file, const std::string& path) {
  RunRecord r;
  r.version = require_checkpoint(file, path);
  const Metadata m(file, path);
  r.defaults = r.version < 2 ? r.version : static_cast<int>(m.integer("defaults_version", 1, r.version));
  r.config = stored_config(m);
  r.vocab = m.text("vocab");
  r.corpus = stored_identity(m, r.version);
  if (m.has("corpus")) r.corpus_name = m.text("corpus");
  if (m.has("corpus_manifest")) r.manifest = path_of_text(m.text("corpus_manifest"));
  if (r.version >= 2) r.earlier_data = m.text("earlier_data");
  if (m.has("grown")) r.grown = m.text("grown");
  if (m.has("from_checkpoint") || m.has("from_parameters_sha256") || m.has("from_step"))
    r.origin = {m.text("from_checkpoint"), m.digest("from_parameters_sha256"), m.integer("from_step")};
  r.step = m.integer("step");
  if (m.has("optimizer_steps")) r.counters = stored_counters(m, r.version, r.config);
  return r;
}

std::unique_ptr<Tokenizer> stored_tokenizer(const RunRecord& record, const std::string& path) {
  try {
    return tokenizer_from_json(record.vocab);
  } catch (const CheckpointError& e) {
    throw CheckpointError("{}: the metadata's `vocab`: {}", path, e.what());
  }
}

std::string not_recorded(const RunRecord& record, const std::string& path) {
  if (record.corpus.complete()) return "";
  return fmt::format(
      "{} does not say where splits and documents end, which format version 1 did not record: of the corpus only the "
      "text is compared",
      path);
}

}  // namespace effllm
