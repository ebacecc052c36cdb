#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "base/escapes.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "eval/baseline_table.h"
#include "eval/baselines.h"
#include "eval/eval_plan.h"
#include "eval/evaluator.h"
#include "eval_lengths.h"
#include "eval_output.h"
#include "eval_positions.h"
#include "eval_tasks.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "store/run_folder.h"
#include "store/safetensors.h"
#include "train/eval_target.h"
#include "train/loaded_model.h"
#include "train/memory_refusal.h"

namespace effllm::app {
namespace {

constexpr std::chrono::seconds kSilence(1);  // before progress is shown: what is short shows its result alone

// The first window of the split and what the model makes of it, for programs that check the numbers. Where documents
// are told apart, "segments" numbers them.
void save_logits(const LoadedModel& m, const TokenizedText& text, const EvalOptions& o, const std::string& file) {
  if (m.model->has_encoder())
    throw ConfigError("--save-logits: the model predicts a part of a window, from what its encoder makes of the other");
  const int64_t n = o.tokens;
  Batch batch = batch_for(1, n);
  m.config.objective.type.build()->cut({.text = text.tokens,
                                        .begin = 0,
                                        .end = n,
                                        .scored = 0,
                                        .document_starts = o.reset_documents ? &text.document_starts : nullptr},
                                       batch);
  const BatchRows rows = batch.rows(0, 1);
  Context cx;
  cx.segments = rows.segments;
  const Tensor logits = m.model->logits(rows.inputs, cx);
  std::vector<float> dense;
  for (int64_t r = 0; r < n; ++r)
    dense.insert(dense.end(), logits.view<float>().row(r), logits.view<float>().row(r) + logits.cols());
  const auto stored = [](const char* name, StoredType type, std::vector<int64_t> shape, const auto* data,
                         size_t count) {
    return StoredTensor{name, type, std::move(shape), reinterpret_cast<const std::byte*>(data), count * sizeof *data};
  };
  std::vector<StoredTensor> all = {
      stored("tokens", StoredType::i32, {1, n}, batch.inputs.data(), batch.inputs.size()),
      stored("logits", StoredType::f32, {1, n, logits.cols()}, dense.data(), dense.size())};
  if (!batch.segments.empty())
    all.push_back(stored("segments", StoredType::i64, {1, n}, batch.segments.data(), batch.segments.size()));
  write_safetensors(file, std::move(all), {{"checkpoint", path_text(m.checkpoint)}});
}

// What --exit-layer asks for.
void set_exit(LoadedModel& m, const Objective& objective, const std::string& wanted, EvalOptions& o) {
  const int64_t layers = m.model->layers();
  if (wanted.empty()) return;
  if (wanted == "all") {
    if (objective.bound())
      throw ConfigError("--exit-layer all: the score of {} is a bound of the whole model; give a number of layers",
                        m.config.objective.type.name());
    o.by_exit = true;
    return;
  }
  int64_t number = 0;
  const char* const end = wanted.data() + wanted.size();
  const auto [read, problem] = std::from_chars(wanted.data(), end, number);
  if (problem != std::errc() || read != end || number < 1 || number > layers)
    throw ConfigError("--exit-layer {}: the model has {}; give 1 to {}, or all", wanted, counted(layers, "layer"),
                      layers);
  m.model->exit_after(o.exit_layer = number);
}

}  // namespace

ExitCode eval(const Common& common, const EvalArgs& args) {
  prepare_threads();
  LoadedModel m = load_model(args.model);
  if (const std::string note = not_recorded(m, m.checkpoint.string()); !note.empty() && !common.quiet)
    print_stderr(note + "\n");
  if (!m.earlier_data.empty() && !common.quiet)
    print_stderr(fmt::format("the run was trained on other data before:\n{}", m.earlier_data));
  if (!m.grown.empty() && !common.quiet) print_stderr(fmt::format("the model grew:\n{}", m.grown));
  refuse_for_task(m, args);
  EvalOptions o = evaluation_of(m.config);
  const std::string_view name = args.protocol.empty() ? o.protocol.name() : args.protocol;
  if (args.stride || name != o.protocol.name()) o.protocol = protocol(name, args.stride);
  if (args.tokens) o.tokens = *args.tokens;
  o.max_tokens = args.max_tokens;
  const auto objective = m.config.objective.type.build();
  if (objective->bound() && !objective->any_order() && (args.left_to_right || args.pseudo_likelihood))
    throw ConfigError("{} has no order of tokens, and hides none: leave --left-to-right and --pseudo-likelihood out",
                      m.config.objective.type.name());
  if (!objective->bound() && (args.bound_samples || args.seed || args.left_to_right || args.pseudo_likelihood))
    throw ConfigError(
        "{} gives a likelihood from left to right: --bound-samples, --seed, --left-to-right and --pseudo-likelihood "
        "are for objectives whose score is a bound",
        m.config.objective.type.name());
  set_exit(m, *objective, args.exit_layer, o);
  if (args.bound_samples) o.bound_samples = *args.bound_samples;
  if (args.seed) o.seed = static_cast<uint64_t>(*args.seed);
  const EvalTarget target = args.text.empty()
                                ? split_target(m, parse_split(args.split), args.corpus, args.allow_other_data)
                                : file_target(m, args.text);
  if (const auto note = byte_order_note(target.file_text); !note.empty() && !common.quiet)
    print_stderr(fmt::format("warning: {} {}\n", target.name, note));
  if (!target.other_than_trained_on.empty() && !common.quiet)
    print_stderr(fmt::format("not the corpus that was trained on: {}\n", join(target.other_than_trained_on, "; ")));
  const int64_t trained = trained_context(m.config),
                inputs = static_cast<int64_t>(target.tokens.tokens.size()) - objective->scored_ahead();
  if (args.by_position) o.context_bands = {1};
  require_options(*m.model, *objective, *m.tokenizer, o);
  o = fitted(std::move(o), static_cast<int64_t>(target.tokens.tokens.size()), objective->scored_ahead());
  if (const auto note = beyond_training(*m.model, trained, o); !note.empty() && !common.quiet)
    print_stderr(fmt::format("note: {}\n", note));
  if (args.by_position)
    o.context_bands = context_bands(o.protocol.info().carried ? scored_inputs(o, inputs) : o.tokens, trained);
  require_evaluation(m.config, m.model->vocab(), o, static_cast<int64_t>(target.tokens.tokens.size()));
  const TaskData* task = target.corpus && target.split ? target.corpus->task() : nullptr;
  const auto longer = with_lengths(m, *objective, target, o, task ? std::vector<int64_t>{} : args.lengths);
  StatusLine status(common.quiet);
  const auto show = [&, start = std::chrono::steady_clock::now()](const std::string& what) {
    if (std::chrono::steady_clock::now() - start > kSilence) status.update(what);
  };
  const auto evaluated = [&](const EvalOptions& how) {
    return evaluate(*m.model, *objective, target.tokens, *m.tokenizer, how,
                    [&](double done) { show(fmt::format("evaluating {:3.0f}%", 100 * done)); });
  };
  const EvalResult r = evaluated(o);
  std::optional<EvalResult> ordered;
  if (args.left_to_right) {
    EvalOptions how = o;
    how.left_to_right = true;
    ordered = evaluated(how);
  }
  std::optional<EvalResult> alone;
  if (args.pseudo_likelihood) {
    EvalOptions how = o;
    how.each_alone = true;
    alone = evaluated(how);
  }
  std::optional<EvalResult> looking_ahead;
  if (args.training_choice && objective->causal() && m.model->trains_otherwise()) {
    EvalOptions how = o;
    how.training_choice = true;
    how.by_exit = false;
    how.context_bands.clear();
    looking_ahead = evaluated(how);
  }
  status.clear();
  if (!args.save_logits.empty()) save_logits(m, target.tokens, o, args.save_logits);

  // The result is out and kept before anything else can fail.
  nlohmann::json j = result_json(m, target, o, r);
  if (ordered) add_left_to_right(j, *ordered);
  if (alone) add_pseudo_likelihood(j, *alone);
  if (o.by_exit) add_exits(j, r);
  if (args.by_position) add_positions(j, r);
  if (looking_ahead) add_training_choice(j, *looking_ahead);
  if (task) add_answers(j, *task, *target.split, target.tokens, r);
  std::error_code error;
  const bool keeps = std::filesystem::is_directory(args.model, error);
  std::vector<LengthResult> lengths;
  std::vector<TextLength> text_lengths;
  if (task && !args.lengths.empty()) {
    lengths = at_lengths(m, *objective, *task, *target.split, o, args.lengths, show);
    add_lengths(j, lengths);
  } else if (!longer.empty()) {
    text_lengths = at_text_lengths(m, *objective, target, longer, show);
    add_text_lengths(j, text_lengths, trained);
  }
  status.clear();
  const std::filesystem::path file = RunFolder(args.model).evaluations() / result_file_name(m, target, o, args.lengths);
  const bool kept = keeps && keep_result(file, j);
  if (!common.json) {
    print_result(m, target, o, r);
    if (ordered) print_left_to_right(*ordered);
    if (alone) print_pseudo_likelihood(*alone);
    if (o.by_exit) print_exits(r);
    if (args.by_position) print_positions(r, trained);
    if (looking_ahead) print_training_choice(*looking_ahead);
    if (task) print_answers(*task, *target.split, target.tokens, r);
    if (!lengths.empty()) print_lengths(lengths, *task);
    if (!text_lengths.empty()) print_text_lengths(text_lengths, trained);
  }
  const bool part = m.model->has_encoder();  // of the text is scored
  if (args.baselines && part && !common.quiet)
    print_stderr(fmt::format("baselines are left out: they are scored on all of the text, {} on a part of it\n",
                             m.config.objective.type.name()));
  if (args.baselines && (task || part)) {
    const std::string why = task ? "samples of a task are no text"
                                 : "they are scored on all of the text, " +
                                       std::string(m.config.objective.type.name()) + " on a part of it";
    add_baselines(j, {.rows = {}, .left_out = {{"n-gram models and compressors", why}}});
    if (kept) keep_result(file, j);
  }
  if (args.baselines && !part && !task) {
    std::fflush(stdout);
    Baselines all = baselines({.tokens = target.tokens,
                               .text = target.text(),
                               .tokenizer = *m.tokenizer,
                               .corpus = target.corpus ? &*target.corpus : nullptr,
                               .split = target.split,
                               .options = o,
                               .result = r},
                              {.progress = show});
    status.clear();
    if (!target.no_corpus.empty()) all.left_out.push_back({"what reads the training text", target.no_corpus});
    add_baselines(j, all);
    if (kept) keep_result(file, j);
    if (!common.json) fmt::print("\n{}", baseline_table(r.bits_per_byte(), all, r.bound));
  }
  if (common.json) print_json(j);
  if (std::isfinite(r.nats)) return ExitCode::ok;
  if (common.json) return ExitCode::numerical;
  throw NumericalError("{}: the model gave values that are not finite", m.checkpoint.string());
}

}  // namespace effllm::app
