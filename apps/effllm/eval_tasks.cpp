#include "eval_tasks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/terminal.h"
#include "base/text.h"
#include "train/memory_refusal.h"

namespace effllm::app {
namespace {

using Answers = EvalResult::Answers;
using ByValue = std::map<int64_t, Answers>;

constexpr size_t kMostRows = 10;  // of what a terminal is shown
constexpr int64_t kGuessed = 1000;

// What a guess that reads no sample gets right: always the answer that is the most frequent in training.
double guess_accuracy(const TaskData& task, const TokenizedText& text) {
  std::map<int32_t, int64_t> counts;
  const int64_t all = task.samples(Split::train);
  for (int64_t i = 0; i < (all ? std::min(all, kGuessed) : kGuessed); ++i)
    for (const int32_t t : task.sample(Split::train, i).targets)
      if (t != kIgnoredTarget) ++counts[t];
  const auto usual = std::ranges::max_element(counts, {}, [](const auto& c) { return c.second; });
  const auto scored = [](int32_t t) { return t != kIgnoredTarget; };
  return static_cast<double>(std::ranges::count(text.labels, usual->first)) /
         static_cast<double>(std::ranges::count_if(text.labels, scored));
}

// What is left to who knows the rule, where the task says so.
std::optional<Task::Known> known(const TaskData& task, Split split, const TokenizedText& text) {
  std::optional<Task::Known> sum;
  for (int64_t i = 0; i < static_cast<int64_t>(text.samples.size()); ++i)
    if (const auto one = task.task().known(task.sample(split, i))) {
      if (!sum) sum.emplace();
      sum->nats += one->nats;
      sum->right += one->right;
    }
  return sum;
}

nlohmann::json to_json(const Answers& a) {
  return {{"accuracy", a.accuracy()},
          {"sample_accuracy", a.sample_accuracy()},
          {"nats_per_token", a.nats / static_cast<double>(a.tokens)},
          {"tokens", a.tokens},
          {"samples", a.samples}};
}

nlohmann::json to_json(const ByValue& all, const char* key) {
  nlohmann::json rows = nlohmann::json::array();
  for (const auto& [value, a] : all) {
    rows.push_back(to_json(a));
    rows.back()[key] = value;
  }
  return rows;
}

std::vector<std::string> cells(std::string first, const Answers& a) {
  return {std::move(first), fmt::format("{:.4f}", a.accuracy()), fmt::format("{:.4f}", a.sample_accuracy()),
          fmt::format("{:.4f}", a.nats / static_cast<double>(a.tokens)), fmt::format("{}", a.samples)};
}

std::vector<std::vector<std::string>> header(std::string_view first) {
  return {{std::string(first), "accuracy", "of samples", "nats/token", "samples"}};
}

// A row each, or one for several values together where there are many.
void print_by(const ByValue& all, std::string_view what) {
  if (all.size() < 2) return;
  auto rows = header(what);
  const size_t together = (all.size() + kMostRows - 1) / kMostRows;
  for (auto it = all.begin(); it != all.end();) {
    const int64_t first = it->first;
    int64_t last = first;
    Answers sum;
    for (size_t i = 0; i < together && it != all.end(); ++i, ++it) {
      const Answers& a = it->second;
      last = it->first;
      sum.tokens += a.tokens, sum.right += a.right, sum.samples += a.samples, sum.whole += a.whole, sum.nats += a.nats;
    }
    rows.push_back(cells(first == last ? fmt::format("{}", first) : fmt::format("{} to {}", first, last), sum));
  }
  fmt::print("\n{}", table(rows));
}

}  // namespace

void refuse_for_task(const LoadedModel& m, const EvalArgs& args) {
  const auto& task = m.config.data.task;
  if (task && (args.tokens || args.stride || args.max_tokens || !args.protocol.empty()))
    throw ConfigError(
        "{} learned samples of {}, which are scored one by one, and all of them: leave --tokens, "
        "--stride, --max-tokens and --protocol out; --lengths makes longer samples",
        m.checkpoint.string(), task.name());
}

void add_answers(nlohmann::json& j, const TaskData& task, Split split, const TokenizedText& text, const EvalResult& r) {
  const auto tokens = static_cast<double>(r.answers.tokens);
  if (const auto k = known(task, split, text))
    j["known_rule"] = {{"nats_per_token", k->nats / tokens}, {"accuracy", static_cast<double>(k->right) / tokens}};
  j["accuracy"] = r.answers.accuracy();
  j["sample_accuracy"] = r.answers.sample_accuracy();
  j["samples"] = r.answers.samples;
  j["bits_per_token"] = r.bits();
  j["guess_accuracy"] = guess_accuracy(task, text);
  j["by_length"] = to_json(r.by_length, "length");
  if (!task.info().difficulty.empty())
    j["by_difficulty"] = {{"of", task.info().difficulty}, {"rows", to_json(r.by_difficulty, "value")}};
}

void print_answers(const TaskData& task, Split split, const TokenizedText& text, const EvalResult& r) {
  fmt::print("  accuracy {:.4f}, of samples {:.4f} ({}); a guess that reads nothing: {:.4f}\n", r.answers.accuracy(),
             r.answers.sample_accuracy(), counted(r.answers.samples, "sample"), guess_accuracy(task, text));
  const auto tokens = static_cast<double>(r.answers.tokens);
  if (const auto k = known(task, split, text))
    fmt::print("  who knows the rule: {:.4f} nats/token, accuracy {:.4f}\n", k->nats / tokens,
               static_cast<double>(k->right) / tokens);
  print_by(r.by_length, "length");
  if (!task.info().difficulty.empty()) print_by(r.by_difficulty, task.info().difficulty);
}

std::vector<LengthResult> at_lengths(const LoadedModel& m, const Objective& objective, const TaskData& task,
                                     Split split, EvalOptions o, const std::vector<int64_t>& lengths,
                                     const std::function<void(const std::string&)>& show) {
  o.context_bands.clear();
  std::vector<LengthResult> all;
  for (const int64_t n : lengths) {
    const TaskData longer = task.of_length(n);
    if (longer.task().vocab() != m.model->vocab())
      throw ConfigError("--lengths {}: {} would have {}, and the model knows {}", n, task.info().name,
                        counted(longer.task().vocab(), "symbol"), m.model->vocab());
    const TokenizedText text = longer.text(split);
    o.tokens = longer.task().longest();
    require_options(*m.model, objective, *m.tokenizer, o);
    require_evaluation(m.config, m.model->vocab(), o, static_cast<int64_t>(text.tokens.size()));
    all.push_back({n, evaluate(*m.model, objective, text, *m.tokenizer, o, [&](double done) {
                     show(fmt::format("evaluating length {} {:3.0f}%", n, 100 * done));
                   })});
  }
  return all;
}

void add_lengths(nlohmann::json& j, const std::vector<LengthResult>& all) {
  j["lengths"] = nlohmann::json::array();
  for (const LengthResult& l : all) {
    j["lengths"].push_back(to_json(l.result.answers));
    j["lengths"].back()["length"] = l.length;
    j["lengths"].back()["seconds"] = l.result.seconds;
  }
}

void print_lengths(const std::vector<LengthResult>& all, const TaskData& task) {
  auto rows = header("length");
  rows[0].insert(rows[0].begin() + 1, "of training's");
  const auto trained = static_cast<double>(task.task().longest());
  for (const LengthResult& l : all) {
    rows.push_back(cells(fmt::format("{}", l.length), l.result.answers));
    rows.back().insert(
        rows.back().begin() + 1,
        fmt::format("x {:.3g}", static_cast<double>(task.of_length(l.length).task().longest()) / trained));
  }
  fmt::print("\n{}", table(rows));
}

}  // namespace effllm::app
