#include "train/grow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>

#include "base/escapes.h"
#include "base/json.h"
#include "base/random.h"
#include "base/text.h"
#include "checkpoint/grown.h"
#include "model/growth.h"
#include "store/file.h"
#include "store/run_folder.h"
#include "train/kept_config.h"
#include "train/loaded_model.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

// Applies an assignment to the resolved configuration; one with [*] in its path to every layer that it fits.
void apply(ConfigNode& root, const std::string& assignment, int index) {
  static constexpr std::string_view kEvery = "[*]";
  const size_t at = assignment.find(kEvery);
  if (at == assignment.npos || at > assignment.find('=')) return apply_override(root, assignment, index);
  std::exception_ptr misfit;
  bool any = false;
  for (size_t i = 0; i < root.find("model")->find("layers")->items().size(); ++i) try {
      ConfigNode with = root;
      apply_override(with, fmt::format("{}[{}]{}", assignment.substr(0, at), i, assignment.substr(at + kEvery.size())),
                     index);
      read_run_config(with);
      root = std::move(with);
      any = true;
    } catch (const ConfigError&) {
      if (!misfit) misfit = std::current_exception();
    }
  if (!any) std::rethrow_exception(misfit);
}

RunConfig wanted_config(const RunConfig& before, const std::vector<std::string>& set, const std::string& name) {
  ConfigNode root = write_run_config(before);
  int index = 0;
  for (const std::string& s : set) apply(root, s, ++index);
  root.set("name", ConfigNode::scalar(name, {}, true));
  RunConfig wanted = read_run_config(root);
  wanted.folder = before.folder;
  return wanted;
}

// Nothing is evaluated yet, and no row of the journal is begun.
RunCounters fresh_results(RunCounters at) {
  at.best_val = std::numeric_limits<double>::quiet_NaN();
  at.best_step = -1;
  at.shown_loss = at.row_loss_sum = 0;
  at.row_loss_count = 0;
  return at;
}

void write_folder(const RunFolder& folder, const RunRecord& record) {
  const std::string config = to_yaml(record.manifest.empty() ? write_run_config(record.config)
                                                             : resolved_config(record.config, record.manifest));
  write_file_atomic(folder.config(), config);
  write_file_atomic(folder.resolved(), config);
  write_file_atomic(folder.overrides(), "");
  const nlohmann::json status = {
      {"status", "grown"},
      {"step", record.counters ? nlohmann::json(record.counters->step) : nlohmann::json()},
      {"tokens", record.counters ? nlohmann::json(record.counters->tokens) : nlohmann::json()}};
  write_file_atomic(folder.status(), status.dump() + "\n");
  const AppendFile empty(folder.journal());  // the run that goes on begins it
}

// The first tokens of the validation split, one more than the window; empty where the text is not there.
std::vector<int32_t> text_of(const LoadedModel& m, int64_t window) {
  try {
    const Corpus corpus = open_corpus(m);
    if (!differences(m.corpus, corpus.identity()).empty()) return {};
    std::vector<int32_t> ids = corpus.tokenize(*m.tokenizer, Split::val).tokens;
    ids.resize(std::min(ids.size(), static_cast<size_t>(window + 1)));
    return ids.size() > 1 ? ids : std::vector<int32_t>();
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

GrownRun grow(const fs::path& run_or_checkpoint, const std::vector<std::string>& set, const fs::path& into) {
  const LoadedModel m = load_model(run_or_checkpoint);
  const std::string path = m.checkpoint.string();
  std::error_code error;
  fs::path target = fs::absolute(into, error).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  if (fs::exists(target, error) && (!fs::is_directory(target, error) || !fs::is_empty(target, error)))
    throw ConfigError("{} exists: choose another folder (--output)", into.string());

  RunConfig wanted = wanted_config(m.config, set, path_text(target.filename()));
  GrownConfig grown = grown_config(m.config.model, wanted.model, path);
  wanted.model = std::move(grown.config);
  RunConfig before = m.config;
  before.name = wanted.name;
  GrownRun done{.from = m.checkpoint,
                .checkpoint = {},
                .step = m.step,
                .parameters_before = m.model->params().count(),
                .parameters = 0,
                .changes = differences(write_run_config(before), write_run_config(wanted)),
                .other_function = std::move(grown.other_function)};
  for (const ConfigChange& c : done.changes)
    if (!c.key.starts_with("model."))
      throw ConfigError("{}: {}: what grows changes nothing but `tokens` of pattention", path, c.text());

  LanguageModel model(wanted.model, m.model->vocab());
  model.params().materialize(static_cast<uint64_t>(wanted.train.seed), DType::f32);
  const SafetensorsFile file(m.checkpoint);
  load_grown(file, path, model.params());
  done.parameters = model.params().count();

  RunRecord record = m;
  record.config = std::move(wanted);
  if (record.counters) record.counters = fresh_results(*record.counters);
  std::string changes;
  for (const ConfigChange& c : done.changes) changes += (changes.empty() ? "" : "; ") + c.text();
  record.grown += fmt::format("at step {}, from {} (parameters {}): {}\n", m.step,
                              path_text(fs::absolute(m.checkpoint)), parameter_hash(m.model->params()), changes);
  const RunFolder folder = RunFolder::create(target.parent_path(), target.filename().string(), false);
  done.checkpoint = folder.checkpoint(m.step);
  const SlotKinds kinds = slots_of(record.config.optim.type);
  const auto shape = [&](std::string_view slot, const Parameter& p) {
    const std::vector<SlotKind> all = kinds(p);
    const auto kind = std::ranges::find(all, slot, &SlotKind::name);
    return kind == all.end() ? p.shape : kind->shape(p);
  };
  save_checkpoint(done.checkpoint, model.params(), grown_rest(file, path, model.params(), shape),
                  to_metadata(record, model.params()));
  write_folder(folder, record);
  return done;
}

FunctionChange function_change(const fs::path& before, const fs::path& after) {
  const LoadedModel a = load_model(before, DType::f64), b = load_model(after, DType::f64);
  FunctionChange change;
  const int64_t window = std::min<int64_t>(b.config.train.context, 512);
  std::vector<int32_t> ids = text_of(b, window);
  const bool text = change.text = !ids.empty();
  const RandomStream numbers(1, "grow.ids");
  for (int64_t i = 0; !text && i <= window; ++i)
    ids.push_back(
        static_cast<int32_t>(numbers.below(static_cast<uint64_t>(i), static_cast<uint64_t>(b.model->vocab()))));
  change.tokens = static_cast<int64_t>(ids.size()) - 1;
  const auto row = [&](size_t from) {
    return Tensor::view_of(std::span(ids).subspan(from, static_cast<size_t>(change.tokens)), {1, change.tokens});
  };
  const bool causal = a.config.objective.type.build()->causal();
  Context cx;
  if (!causal) cx.direction = Direction::bidirectional;
  const Tensor x = a.model->logits(row(0), cx), y = b.model->logits(row(0), cx);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c) {
      const double l = x.view<double>().row(r)[c];
      change.logits = std::max(change.logits, std::abs(l));
      change.largest = std::max(change.largest, std::abs(y.view<double>().row(r)[c] - l));
    }
  if (text && causal && a.model->config().block == 0) {  // of blocks no logits are those of the next token
    const auto loss = [&](const LoadedModel& m) {
      return *m.model->loss(row(0), row(1), 1 / static_cast<double>(change.tokens), cx).data<double>();
    };
    change.loss_before = loss(a);
    change.loss_after = loss(b);
  }
  return change;
}

}  // namespace effllm
