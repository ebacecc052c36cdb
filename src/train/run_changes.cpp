#include "train/run_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/text.h"
#include "model/language_model.h"

namespace effllm {
namespace {

// Whether the rows that follow are those that the run would have seen. Draws with replacement know no place.
bool decides_place(const std::string& key, const RunConfig& before, const RunConfig& after) {
  if (before.data.task || after.data.task) return false;  // by the number of the sample alone
  const OrderInfo& order = after.data.order.info();
  if (key == "data.order") return order.has_place;
  if (&order != &before.data.order.info() || !order.has_place) return false;
  if (key == "data.seed") return order.seeded;
  if (key == "train.batch") return order.continues;
  if (key == "train.context") return true;
  return key == "train.carry_state" && after.train.carry_state;
}

// Whether outside training the function is as it was: of dropout, and of what a block has beside the one that it is
// then.
bool of_training(std::string_view key, const RunConfig& before, const RunConfig& after) {
  if (key.ends_with(".dropout")) return true;
  size_t i = 0;
  constexpr std::string_view kLayers = "model.layers[";
  if (!key.starts_with(kLayers)) return false;
  const auto [end, error] = std::from_chars(key.data() + kLayers.size(), key.data() + key.size(), i);
  if (error != std::errc() || i >= before.model.layers.size() || i >= after.model.layers.size()) return false;
  const LayerInfo &then = before.model.layers[i].block.info(), &now = after.model.layers[i].block.info();
  const auto plain = [](const LayerInfo& b) { return b.outside_training.empty() ? b.name : b.outside_training; };
  const std::string_view option = key.substr(static_cast<size_t>(end - key.data()) + 2);
  const auto has = [&](const LayerInfo& b) {
    const auto options = b.options();
    return std::ranges::any_of(describe(*options), [&](const OptionInfo& o) { return o.name == option; });
  };
  return plain(then) == plain(now) &&
         (option == "type" || ((has(then) || has(now)) && !has(all_blocks.find(plain(now)))));
}

bool of_the_model(const std::string& key, const RunConfig& before, const RunConfig& after) {
  if (of_training(key, before, after)) return false;
  if (key == "data.seed" && (after.data.task || !after.data.order.info().seeded)) return false;
  return key.starts_with("model.") || key.starts_with("objective.") || key == "data.tokenizer" || key == "data.reset" ||
         key == "data.order" || key == "data.seed" || key == "data.task";
}

bool learns_positions(const ModelConfig& c) {
  return c.learned_positions || (c.encoder && c.encoder->learned_positions);
}

// Where a configuration has what goes by the part of the run that is done: "objective.early_exit.curriculum". Exits in
// rotation go by the step.
void find_curricula(const ConfigNode& n, const std::string& path, std::vector<std::string>& found) {
  for (const auto& e : n.entries()) {
    const std::string here = path.empty() ? e.key : fmt::format("{}.{}", path, e.key);
    if (e.key == "curriculum" && e.value.text() != "none" && e.value.text() != "rotational") found.push_back(here);
    find_curricula(e.value, here, found);
  }
  for (size_t i = 0; i < n.items().size(); ++i) find_curricula(n.items()[i], fmt::format("{}[{}]", path, i), found);
}

// A line each, indented.
std::string listed(const std::vector<ConfigChange>& changes) {
  std::string text;
  for (const ConfigChange& c : changes) text += "\n  " + c.text();
  return text;
}

// Why the weights of `file` are none of the configuration's model; empty where they are.
std::string misfit_of(const SafetensorsFile& file, const RunConfig& config, const Tokenizer& tokenizer) {
  LanguageModel model(config.model, tokenizer.vocab_size());
  model.params().as_meta(DType::f32);
  return misfit(file, model.params());
}

}  // namespace

RunChanges changes_between(const RunConfig& before, const RunConfig& after) {
  ConfigNode a = write_run_config(before), b = write_run_config(after);
  for (ConfigNode* n : {&a, &b}) {
    n->erase("name");
    n->erase("version");
    n->find("data")->erase("corpus");  // a name; what it stands for is compared by CorpusIdentity
    if (!learns_positions(before.model) && !learns_positions(after.model)) n->find("model")->erase("max_tokens");
  }
  RunChanges changes;
  for (ConfigChange& c : differences(a, b)) {
    auto& kind = decides_place(c.key, before, after)  ? changes.place
                 : of_the_model(c.key, before, after) ? changes.model
                                                      : changes.other;
    kind.push_back(std::move(c));
  }
  return changes;
}

std::vector<std::string> told(const std::vector<ConfigChange>& changes) {
  const auto is_set = [](const std::string& value) { return value != kNotSet; };
  const auto part = [](std::string_view key) { return std::string(key.substr(0, key.rfind('.'))); };
  std::set<std::string> retyped;  // "optim"
  for (const ConfigChange& c : changes)
    if (c.key.ends_with(".type") && is_set(c.before) && is_set(c.after)) retyped.insert(part(c.key));
  const auto of_one = [&](const ConfigChange& c) {
    return retyped.contains(part(c.key)) && !(is_set(c.before) && is_set(c.after));
  };
  std::vector<std::string> lines;
  for (const ConfigChange& c : changes) {
    if (of_one(c)) continue;
    const auto own = c.key.ends_with(".type")
                         ? std::ranges::count_if(
                               changes, [&](const ConfigChange& o) { return of_one(o) && part(o.key) == part(c.key); })
                         : 0;
    lines.push_back(c.text() +
                    (own > 0 ? fmt::format(", with {} that only one of them has", counted(own, "option")) : ""));
  }
  return lines;
}

std::string lr_jump(const RunConfig& before, const RunConfig& after, const Spent& spent) {
  const auto rate = [&](const RunConfig& c) {
    return c.optim.lr * c.schedule.type.build()->factor(spent.steps, std::min(1.0, c.train.progress(spent)));
  };
  const double old = rate(before), next = rate(after);
  if (std::abs(next - old) <= 0.01 * old) return "";
  const std::string factor = old > 0 ? fmt::format(", {:.3g} times as much", next / old) : "";
  return fmt::format("the learning rate of step {} is {:.4g} instead of {:.4g}{}", spent.steps, next, old, factor);
}

std::string curriculum_jump(const RunConfig& before, const RunConfig& after, const Spent& spent) {
  const auto percent = [&](const RunConfig& c) { return std::lround(100 * std::min(1.0, c.train.progress(spent))); };
  const long then = percent(before), now = percent(after);
  std::vector<std::string> all;
  if (then != now) find_curricula(write_run_config(after), "", all);
  if (all.empty()) return "";
  return fmt::format("the horizon is another: at step {} {}{} {} at {} % of the run instead of {} %", spent.steps,
                     all[0], all.size() > 1 ? fmt::format(" and {} more", all.size() - 1) : "",
                     all.size() > 1 ? "are" : "is", now, then);
}

void require_same_run(const RunChanges& changes, const SafetensorsFile& file, const RunRecord& record,
                      const RunConfig& config, const Tokenizer& tokenizer, const std::string& path,
                      bool allow_other_model) {
  if (!changes.place.empty())
    throw CheckpointError(
        "{}: the rows of its data can't go on under the configuration:{}\nPut it back, or begin the data anew with "
        "these "
        "weights: --from {} without --resume",
        path, listed(changes.place), path);
  if (changes.model.empty()) return;
  const std::string wrong =
      record.vocab != tokenizer.to_json() ? "a token is another" : misfit_of(file, config, tokenizer);
  if (wrong.empty() && allow_other_model) return;
  throw CheckpointError(
      "{}: the run was begun with another model or other data than the configuration has:{}\nPut it back, {}", path,
      listed(changes.model),
      wrong.empty() ? "train anew without --resume, or go on all the same: --allow-model-change"
                    : "or train anew without --resume; its weights do not fit: " + wrong);
}

void require_same_weights(const SafetensorsFile& file, const RunRecord& record, const RunConfig& config,
                          const Tokenizer& tokenizer, const std::string& path, bool allow_other_model) {
  std::vector<ConfigChange> changes = changes_between(record.config, config).model;
  std::erase_if(changes,
                [](const ConfigChange& c) { return !c.key.starts_with("model.") && c.key != "data.tokenizer"; });
  const std::string wrong = misfit_of(file, config, tokenizer);
  const bool other_words = record.vocab != tokenizer.to_json();  // says more than the shape of the embedding
  if (!changes.empty() && (!allow_other_model || (!wrong.empty() && !other_words)))
    throw CheckpointError(
        "{}: its weights are of another model than the configuration's:{}\nWrite the model as it was trained{}", path,
        listed(changes),
        other_words     ? "; a token of its vocabulary is another"
        : wrong.empty() ? ", or start with its weights all the same: --allow-model-change"
                        : "; its weights do not fit this one: " + wrong);
  if (other_words)
    throw CheckpointError(
        "{}: has another vocabulary ({}) than the corpus ({}): a row of its embedding would stand for "
        "another token. Weights go from corpus to corpus with data.tokenizer: byte",
        path, counted(stored_tokenizer(record, path)->vocab_size(), "token"), counted(tokenizer.vocab_size(), "token"));
  if (!wrong.empty()) throw CheckpointError("{}: {}", path, wrong);
}

}  // namespace effllm
