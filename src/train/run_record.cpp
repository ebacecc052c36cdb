#include "train/run_record.h"

#include <fmt/format.h>

#include <cmath>

#include "base/escapes.h"
#include "base/text.h"
#include "io/metadata.h"

namespace effllm {
namespace {

constexpr const char *kKnown = "known", *kUnknown = "unknown";  // unknown: exported from format version 1

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
  if (metadata.text("data_splits") != kKnown)
    metadata.refuse("data_splits", fmt::format("{} or {} is needed", kKnown, kUnknown));
  c.train_end = metadata.integer("data_train_end", 1);
  c.val_end = metadata.integer("data_val_end", *c.train_end);
  c.separator = metadata.text("data_separator");
  return c;
}

RunCounters stored_counters(const Metadata& m, int version, const RunConfig& config) {
  RunCounters c;
  c.step = m.integer("step");
  c.optimizer_steps = m.integer("optimizer_steps", 0, c.step);
  c.skipped_in_row = m.integer("skipped_in_row", 0, c.step);
  c.tokens = m.integer("tokens");
  if (version >= 2)
    c.samples = m.integer("samples");
  else if (c.step <= kMostCounted / config.train.batch)
    c.samples = c.step * config.train.batch;
  else
    m.refuse("step", fmt::format("so many steps of {} can't have been taken", counted(config.train.batch, "sample")));
  c.first_batch = m.has("first_batch") ? m.integer("first_batch", 1) : config.train.batch;
  c.seconds = m.number("wall_s");
  if (m.has("save_s")) c.save_seconds = m.number("save_s");  // not in the first of them
  if (m.has("other_s")) c.other_seconds = m.number("other_s");
  c.flops = m.number("flops");
  c.best_step = m.integer("best_step", -1, c.step);
  c.best_val = m.number_or_nan("best_val");
  if (std::isnan(c.best_val) != (c.best_step < 0))
    m.refuse("best_val", fmt::format("that does not go with the `best_step` {}", c.best_step));
  c.shown_loss = m.number("shown_loss");
  c.row_loss_sum = m.number("row_loss_sum");
  c.row_loss_count = m.integer("row_loss_count", 0, c.step);
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
  m["data_splits"] = r.corpus.complete() ? kKnown : kUnknown;
  if (r.corpus.complete())
    m.insert({{"data_train_end", fmt::format("{}", *r.corpus.train_end)},
              {"data_val_end", fmt::format("{}", *r.corpus.val_end)},
              {"data_separator", *r.corpus.separator}});
  if (r.origin)
    m.insert({{"from_checkpoint", r.origin->checkpoint},
              {"from_parameters_sha256", r.origin->parameters_sha256},
              {"from_step", fmt::format("{}", r.origin->step)}});
  if (!r.counters) return m;
  const RunCounters& c = *r.counters;
  m.insert({{"optimizer_steps", fmt::format("{}", c.optimizer_steps)},
            {"skipped_in_row", fmt::format("{}", c.skipped_in_row)},
            {"tokens", fmt::format("{}", c.tokens)},
            {"samples", fmt::format("{}", c.samples)},
            {"first_batch", fmt::format("{}", c.first_batch)},
            {"wall_s", shortest(c.seconds)},
            {"save_s", shortest(c.save_seconds)},
            {"other_s", shortest(c.other_seconds)},
            {"flops", shortest(c.flops)},
            {"best_val", shortest(c.best_val)},
            {"best_step", fmt::format("{}", c.best_step)},
            {"shown_loss", shortest(c.shown_loss)},
            {"row_loss_sum", shortest(c.row_loss_sum)},
            {"row_loss_count", fmt::format("{}", c.row_loss_count)}});
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
