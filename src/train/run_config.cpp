#include "train/run_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/escapes.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "config/rivals.h"
#include "model/old_defaults.h"
#include "objectives/early_exit.h"
#include "optim/optimizer.h"
#include "train/task_config.h"

namespace effllm {
namespace {

struct Root final : Options {
  std::string name;
  int64_t version = kCheckpointVersion;
  ConfigNode model, objective, data, optim, train, eval;
  void visit(OptionVisitor& v) override {
    v("version", version, "Says which version of this format it is; 1 has the defaults of version 1.",
      between(1, kCheckpointVersion));
    v("name", name, "Names the run folder; default: the file's name.");
    v("model", model, "Describes the model.");
    v("objective", objective, "Chooses what is optimised.");
    v("data", data, "Chooses the corpus and the order of its tokens.");
    v("optim", optim, "Chooses the optimizer and its schedule.");
    v("train", train, "Sets batch, horizon and intervals.");
    v("eval", eval, "Says how validation is done.");
  }
};

// False where the section has errors of its own: what it says together with others is then not known.
bool read_section(Options& o, const ConfigNode& node, std::string_view name, Diagnostics& found) {
  if (node.is_null()) return true;
  o.mark = node.mark();
  Diagnostics own;
  read(o, node, name, own);
  if (!own.empty()) read(o, node, name, found);
  return own.empty();
}

// Keys are counted, not values: one that could not be read is no second error.
void check_horizon(const RunConfig& c, const ConfigNode& train, bool read, Diagnostics& found) {
  std::vector<std::string> given;
  for (const std::string_view key : kHorizons)
    if (train.find(key)) given.emplace_back(key);
  if (given.size() > 1 || (given.empty() && read))
    found.error(c.train.mark, fmt::format("train needs exactly one of {}; it has {}", fmt::join(kHorizons, ", "),
                                          given.empty() ? "none"
                                                        : fmt::format("{} (--set ~train.{} takes that one out)",
                                                                      fmt::join(given, " and "), given[0])));
}

// A corpus by its path, under the name that it has there.
std::string corpus_name(const std::string& corpus) {
  const std::filesystem::path path = path_of_text(corpus);
  return path.extension() == ".yaml" || path.extension() == ".yml" ? path_text(path.stem()) : corpus;
}

bool safe_name(std::string_view s) {
  return !s.empty() && s.size() <= 200 && s.front() != '.' && s.front() != '-' &&
         s.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+") == s.npos;
}

// What is said of the bound's estimate where there is no bound.
void check_bound(const RunConfig& c, const Objective& objective, Diagnostics& found) {
  if (c.eval.bound_samples && !objective.bound())
    found.error(c.mark_of("eval", "bound_samples"),
                fmt::format("eval.bound_samples: {} has a likelihood, and no bound that is to be estimated",
                            c.objective.type.name()));
}

int64_t window_of(const RunConfig& c) { return c.eval.tokens.value_or(c.train.context); }

// Of a model with an encoder, each part of whose rows has learned positions of its own.
void check_positions(const RunConfig& c, const Mark& model, bool eval, Diagnostics& found) {
  const auto check = [&](const Mark& where, std::string_view key, int64_t tokens) {
    const auto [read, written] = c.model.parts_of(tokens);
    if (!c.model.fits(tokens))
      found.error(where,
                  fmt::format("{} is {}, of which the encoder reads {} and the decoder {}, but there are learned "
                              "positions for {}: give model.max_tokens {}, or take at most {}",
                              key, tokens, read, written, c.model.max_tokens, std::max(read, written),
                              counted(c.model.longest_row(), "token")));
  };
  check(model, "train.context", c.train.context);
  if (eval && window_of(c) != c.train.context) check(c.mark_of("eval", "tokens"), "eval.tokens", window_of(c));
}

struct Sections {
  bool data, train, eval;  // read without errors
};

void check_together(const RunConfig& c, Sections read, const Mark& name, Diagnostics& found) {
  if (read.data && !c.data.task && c.train.carry_state && !c.data.order.info().continues) {
    std::vector<std::string_view> able;
    for (const OrderInfo* o : all_orders)
      if (o->continues) able.push_back(o->name);
    found.error(c.train.mark,
                fmt::format("train.carry_state continues rows from step to step, which only data.order: {} does",
                            fmt::join(able, ", ")));
  }
  if (!safe_name(c.name))
    found.error(name, fmt::format("the name `{}` can't be a folder: letters, digits and ._-+ only (`name:`, or --name)",
                                  c.name));
  if (read.eval && read.train)
    found.collect([&] { return c.eval.protocol.build()->require(c.eval.tokens.value_or(c.train.context)), true; });
}

// What came after runs had their hashes, as it was before.
constexpr std::pair<std::string_view, std::string_view> kSince[] = {
    {"z_loss", "0.0"},
    {"weight", "true"},
    {"rope_share", "1.0"},
    {"projection", "{type: linear}"},
    {"norm_at", "before"},
    {"parallel", "false"},
    {"curriculum", "none"},
    {"early_exit", "{scale: 0.0, curriculum: none}"},
    {"cross", "none"},
    {"hash_seed", "0"},
    {"noops", "0"},
    {"states", "own"},
    {"normuon", "false"},
    {"beta2_rows", "0.95"},
    {"cautious_decay", "false"},
    {"depth_weight", "softmax"},
    {"task", "none"},
};

void erase_later(ConfigNode& n) {
  for (const auto& [key, before] : kSince)
    if (const ConfigNode* value = n.find(key); value && to_flow_yaml(*value) == before) n.erase(key);
  for (ConfigNode::Entry& e : n.entries()) erase_later(e.value);
  for (ConfigNode& item : n.items()) erase_later(item);
}

// What each of the list has beside in the section, but the usual one, whose options are shown with the section's.
template <class Info>
void add_own(std::vector<ConfigSection>& all, std::string_view path, std::string_view key, const List<Info>& list,
             const Choice<Info>& usual) {
  for (const Info* entry : list)
    if (auto own = entry->options(); !(usual && entry == &usual.info()) && !describe(*own).empty())
      all.push_back({fmt::format("{} ({}: {})", path, key, entry->name),
                     fmt::format("Of this {}, beside those that all have: {}.", list.kind, entry->title),
                     std::move(own)});
}

}  // namespace

void DataOptions::visit(OptionVisitor& v) {
  task.visit_name(v, "task", "Trains on samples of a task, which the program makes, in place of a corpus.");
  if (task) {
    v("seed", seed, "Seeds the samples and their order.", at_least(0));
    task.visit_options(v, "task", mark);
    return;
  }
  v("corpus", corpus, "Gives the name of a manifest (data/<name>.yaml) or a path to one.");
  tokenizer.visit_name(v, "tokenizer", "Says how text becomes tokens.");
  order.visit_name(v, "order", "Says which tokens a step sees.");
  v("reset", reset,
    "With document, carries nothing over a document's start, whose first token carries no loss where tokens are "
    "predicted from those before.",
    {"none", "document"});
  v("seed", seed, "Seeds the order.", at_least(0));
  tokenizer.visit_options(v, "tokenizer", mark);
  order.visit_options(v, "order", mark);
  task.visit_options(v, "task", mark);
}

void TrainOptions::visit(OptionVisitor& v) {
  v("batch", batch, "Sets the sequences of a step.", between(1, 1 << 20));
  v("context", context, "Sets the tokens of a sequence.", between(1, 1 << 24));
  v("seed", seed, "Seeds initial weights and dropout.", at_least(0));
  v("max_steps", max_steps, "Ends the run after so many steps.", at_least(1));
  v("max_tokens", max_tokens, "Ends the run after so many tokens.", at_least(1));
  v("max_epochs", max_epochs, "Ends the run after so many passes over the training split.", at_least(1e-6));
  v("max_flops", max_flops,
    "Ends the run after so many counted floating-point operations, those of train.recompute left out.", at_least(1));
  v("max_time", max_time, "Ends the run after so many seconds of training.", at_least(0.1));
  v("lanes", lanes,
    "Sets how many sums gradients are added up in, a multiple of what should share the work; 0: the program chooses.",
    between(0, 4096));
  v("shard_tokens", shard_tokens,
    "Sets how many tokens one thread takes at a time; 0: 512, or more where mixers want sequences together.",
    between(0, 1 << 24));
  v("carry_state", carry_state,
    "Keeps the state of each row from step to step (truncated backpropagation through time).");
  v("recompute", recompute,
    "With block, keeps what goes into each block and nothing else, and runs the block again in backward: the same "
    "numbers from less memory, with a forward pass of the blocks more.",
    {"none", "block"});
  v("nonfinite", nonfinite,
    "Says what becomes of a step that is not finite: skip leaves it out and stops at the fourth in a row, abort stops "
    "at the first.",
    {"skip", "abort"});
  v("log_every", log_every, "Sets the steps between rows of the journal.", at_least(1));
  v("eval_every", eval_every, "Sets the steps between evaluations; 0: at the end only.", at_least(0));
  v("save_every", save_every, "Sets the steps between checkpoints; 0: at evaluations and the end.", at_least(0));
  v("save_seconds", save_seconds, "Sets the seconds after which a checkpoint is due in any case; 0: never.",
    at_least(0));
  v("keep", keep, "Sets how many checkpoints are kept beside the best.", at_least(2));
  v("sample_every", sample_every, "Sets the steps between samples; 0: at the end only.", at_least(0));
}

void EvalSection::visit(OptionVisitor& v) {
  protocol.visit_name(v, "protocol", "Says how the split is cut up (`effllm list protocols`).");
  v("split", split, "Chooses the split of the corpus.", {"train", "val", "test"});
  v("tokens", tokens, "Sets the tokens of a window; default: train.context, or a sample of data.task.",
    between(1, kMostTokens));
  protocol.visit_options(v, "protocol", mark);
  v("bound_samples", bound_samples,
    "Sets the random draws for each window, where an objective's score is a bound that is estimated; default: 2.",
    between(1, 1 << 20));
  v("max_tokens", max_tokens, "Evaluates only so many tokens of the split; 0: all of it.", at_least(0));
  v("prompt", prompt, "Begins the samples; default: a line break where the vocabulary has one, else its first symbol.");
  v("sample_tokens", sample_tokens, "Sets the tokens of a sample; 0: none are written.", between(0, 1 << 24));
  v("temperature", temperature, "Divides the logits of samples; 0 takes the likeliest token.", between(0, 100));
}

std::vector<ConfigSection> all_sections() {
  std::vector<ConfigSection> all;
  all.push_back(section<Root>("", "The file. `base:` names another file, or several, that it builds on."));
  for (ConfigSection& s : model_sections()) all.push_back(std::move(s));
  all.push_back(section<ObjectiveSection>("objective", "What is optimised."));
  all.push_back(section<EarlyExitOptions>("objective.early_exit", "Losses of exits after earlier layers (LayerSkip)."));
  add_own(all, "objective", "type", all_objectives, ObjectiveSection().type);
  all.push_back(section<DataOptions>("data", "The corpus, and the order in which training reads it."));
  add_own(all, "data", "tokenizer", all_tokenizers, DataOptions().tokenizer);
  add_own(all, "data", "order", all_orders, DataOptions().order);
  add_own(all, "data", "task", all_tasks, DataOptions().task);
  all.push_back(section<OptimOptions>("optim", "The optimizer."));
  add_own(all, "optim", "type", all_optimizers, OptimOptions().type);
  all.push_back(section<ScheduleSection>("optim.schedule", "The learning rate over the run."));
  add_own(all, "optim.schedule", "type", all_schedules, ScheduleSection().type);
  all.push_back(section<GroupOptions>("optim.groups[]", "Parameters that depart from the settings of `optim`."));
  all.push_back(section<TrainOptions>("train", "Batch, horizon (exactly one of the max_ keys) and intervals."));
  all.push_back(section<EvalSection>(
      "eval", "Evaluation and samples while training; protocol, tokens and stride are those of `effllm eval` too."));
  add_own(all, "eval", "protocol", all_protocols, EvalSection().protocol);
  return all;
}

Mark RunConfig::mark_of(std::string_view section, std::string_view key) const {
  const ConfigNode* map = root.find(section);
  const ConfigNode* value = map && map->is_map() ? map->find(key) : nullptr;
  return value ? value->mark() : map ? map->mark() : root.mark();
}

double Horizon::progress(const Spent& spent) const {
  if (max_steps) return static_cast<double>(spent.steps) / static_cast<double>(*max_steps);
  if (max_tokens) return static_cast<double>(spent.tokens) / static_cast<double>(*max_tokens);
  if (max_epochs) return spent.epochs / *max_epochs;
  if (max_flops) return spent.flops / *max_flops;
  return spent.seconds / *max_time;
}

RunConfig read_run_config(const ConfigNode& root, const std::filesystem::path& file) {
  Diagnostics found;
  Root r;
  read(r, root, "the configuration", found);
  RunConfig c;
  c.root = root;
  c.folder = file.parent_path();
  c.name = r.name.empty() ? file.stem().string() : r.name;
  if (c.name.empty()) c.name = "run";
  read_section(c.objective, r.objective, "objective", found);
  Sections good{};
  refuse_beside_task(r.data, found);
  good.data = read_section(c.data, r.data, "data", found);
  read_section(c.optim, r.optim, "optim", found);
  if (!c.optim.schedule.is_null()) read_section(c.schedule, c.optim.schedule, "schedule", found);
  if (c.optim.type.info().keeps_rate && !c.schedule.type.info().keeps_rate)
    found.error(c.optim.schedule.is_null() ? c.optim.mark : c.schedule.mark,
                fmt::format("{} keeps the rate after warm-up: give `schedule: {{type: constant, warmup: {}}}`",
                            c.optim.type.info().name, ScheduleSection().type.build()->warmup()));
  for (const ConfigNode& g : c.optim.groups) {
    read_section(c.groups.emplace_back(), g, "group", found);
    if (c.groups.back().match.empty()) found.error(g.mark(), "a group needs a `match`, such as \"*.bias\"");
  }
  good.train = read_section(c.train, r.train, "train", found);
  good.eval = read_section(c.eval, r.eval, "eval", found);
  check_horizon(c, r.train, good.train, found);
  if (good.data && c.data.task) check_task(c, good.train && good.eval, found);
  const ConfigNode* name = root.find("name");
  check_together(c, good, name ? name->mark() : Mark{}, found);
  if (r.model.is_null())
    found.error(root.mark(), "the configuration has no `model`");
  else
    c.model = found.collect([&] { return read_model_config(r.model, good.train ? c.train.context : 1); });
  use_defaults_of(static_cast<int>(r.version), c.model);
  if (const auto objective = found.collect([&] { return c.objective.type.build(); })) {
    tell(*objective, c.model);
    require_direction(c.model, c.objective.type.name(), found);
    if (!c.model.layers.empty())
      found.collect([&] { return objective->require_layers(static_cast<int64_t>(c.model.layers.size())), true; });
    if (good.train && c.model.block > c.train.context)
      found.error(c.mark_of("objective", "block"),
                  fmt::format("objective.block is {}, but train.context {} is shorter: choose at most that, or "
                              "masked_diffusion, where a row is one block",
                              c.model.block, c.train.context));
    if (good.eval) check_bound(c, *objective, found);
    if (good.eval && scores_again(*objective, {.protocol = c.eval.protocol, .tokens = window_of(c)}))
      found.error(c.mark_of("eval", "protocol"),
                  fmt::format("eval.protocol: {} has windows that overlap, and would take tokens out of a text that "
                              "others have scored: choose windows",
                              c.eval.protocol.name()));
    if (good.train && c.model.encoder && c.model.parts) check_positions(c, r.model.mark(), good.eval, found);
    if (good.train && good.eval)
      for (const int64_t tokens : std::set{c.train.context, c.eval.tokens.value_or(c.train.context)})
        found.collect([&] { return objective->require_rows(tokens), true; });
  }
  if (!c.model.carries() && c.train.carry_state)
    found.error(c.train.mark, fmt::format("train.carry_state: {} sees a row as a whole, and carries no state",
                                          c.objective.type.name()));
  if (c.model.encoder && c.model.parts) {
    const std::string_view objective = c.objective.type.name();
    if (good.train && c.train.carry_state)
      found.error(
          c.train.mark,
          fmt::format("train.carry_state: {} begins each row with an encoder, and carries no state", objective));
    if (good.eval && c.eval.protocol.info().carried)
      found.error(c.eval.mark,
                  fmt::format("eval.protocol: {} carries a state from window to window; {} begins each with "
                              "an encoder",
                              c.eval.protocol.name(), objective));
    if (good.data && c.data.reset == "document")
      found.error(c.mark_of("data", "reset"),
                  fmt::format("data.reset: {} gives the encoder a part of a row, whatever documents are in it; leave "
                              "`reset` out",
                              objective));
  }
  if (good.eval && !c.model.carries() && c.eval.protocol.info().carried)
    found.error(c.eval.mark, fmt::format("eval.protocol: {} needs a causal objective; {} carries no state",
                                         c.eval.protocol.name(), c.objective.type.name()));
  if (c.model.learned_positions && c.train.carry_state)
    found.error(c.train.mark, "train.carry_state: rows would soon be longer than the model's learned positions");
  const int64_t window = window_of(c);
  if (good.eval && c.model.learned_positions && c.eval.protocol.info().carried)
    found.error(c.eval.mark,
                fmt::format("eval.protocol: {} needs a model without learned positions", c.eval.protocol.name()));
  else if (good.eval && good.train && c.model.learned_positions && !c.model.encoder && window > c.model.max_tokens)
    found.error(c.eval.mark, fmt::format("eval.tokens is {}, but the model has learned positions for {}", window,
                                         c.model.max_tokens));
  found.throw_if_any();
  return c;
}

ConfigNode write_run_config(const RunConfig& config) {
  RunConfig c = config;
  ConfigNode out = ConfigNode::map();
  out.set("version", fmt::format("{}", kCheckpointVersion));
  out.set("name", ConfigNode::scalar(c.name, {}, true));
  out.set("model", write_model_config(c.model));
  out.set("objective", write(c.objective));
  out.set("data", write(c.data));
  c.optim.schedule = write(c.schedule);
  c.optim.groups.clear();
  for (GroupOptions& g : c.groups) c.optim.groups.push_back(write(g));
  out.set("optim", write(c.optim));
  out.set("train", write(c.train));
  out.set("eval", write(c.eval));
  return out;
}

EvalOptions evaluation_of(const RunConfig& c) {
  return {.protocol = c.eval.protocol,
          .tokens = c.data.task ? c.data.task.build(static_cast<uint64_t>(c.data.seed))->longest() : window_of(c),
          .max_tokens = c.eval.max_tokens,
          .bound_samples = c.objective.type.build()->bound() ? c.eval.bound_samples.value_or(2) : 0,
          .seed = static_cast<uint64_t>(c.train.seed),
          .reset_documents = c.data.reset == "document"};
}

int64_t trained_context(const RunConfig& c) {
  return c.train.carry_state ? std::numeric_limits<int64_t>::max() : c.train.context;
}

std::string experiment_hash(const RunConfig& c) {
  ConfigNode n = write_run_config(c);
  n.erase("name");
  if (!c.data.task) n.find("data")->set("corpus", corpus_name(c.data.corpus));
  n.erase("eval");
  for (const std::string_view key : kHorizons) n.find("train")->erase(key);
  for (const char* key : {"recompute", "log_every", "eval_every", "save_every", "save_seconds", "keep", "sample_every"})
    n.find("train")->erase(key);
  erase_later(n);
  return sha256(to_yaml(n));
}

}  // namespace effllm
