#include <fmt/format.h>

#include <set>

#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "ffn/router.h"
#include "json_output.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "shared.h"
#include "sweep/plan.h"
#include "train/preflight.h"
#include "train/run.h"

namespace effllm::app {
namespace {

nlohmann::json to_json(const LayerCost& l) {
  return {{"what", l.what},
          {"parameters", l.parameters},
          {"train_flops_per_token", l.train_flops},
          {"prefill_flops_per_token", l.prefill_flops},
          {"decode_flops", l.decode_flops},
          {"state_bytes", l.state_bytes}};
}

std::vector<std::string> to_row(const LayerCost& l) {
  return {l.what,
          fmt::format("{}", l.parameters),
          human_count(l.train_flops),
          human_count(l.prefill_flops),
          human_count(l.decode_flops),
          human_bytes(static_cast<double>(l.state_bytes))};
}

nlohmann::json to_json(const LengthCost& l) {
  return {
      {"tokens", l.tokens},
      {"train_flops_per_token", l.train_flops},
      {"prefill_flops_per_token", l.prefill_flops},
      {"decode_flops", l.decode_flops},
      {"kept_bytes_per_token", l.kept_bytes},
      {"state_bytes", l.state_bytes},
      {"kv_cache_bytes", l.cache_bytes},
      {"shown",
       {{"train_flops_per_token", human_count(l.train_flops)},
        {"prefill_flops_per_token", human_count(l.prefill_flops)},
        {"decode_flops", human_count(l.decode_flops)},
        {"kept_bytes_per_token", human_bytes(l.kept_bytes)},
        {"state_bytes", human_bytes(static_cast<double>(l.state_bytes))},
        {"part_of_kv_cache", human_percent(static_cast<double>(l.state_bytes) / static_cast<double>(l.cache_bytes))}}}};
}

std::vector<std::string> to_row(const LengthCost& l) {
  return {fmt::format("{}", l.tokens),
          human_count(l.train_flops),
          human_count(l.prefill_flops),
          human_count(l.decode_flops),
          human_bytes(l.kept_bytes),
          human_bytes(static_cast<double>(l.state_bytes)),
          human_bytes(static_cast<double>(l.cache_bytes))};
}

void print_parameters(const RunConfig& c, int64_t vocab) {
  const auto model = model_on_shapes(c.model, vocab);
  const auto settings = group_settings(c.optim, c.groups, model->params());
  std::vector<std::vector<std::string>> rows = {{"parameter", "shape", "lr", "weight decay"}};
  for (size_t i = 0; i < settings.size(); ++i) {
    const Parameter& p = *model->params().sorted()[i];
    rows.push_back({p.name, p.shape.str(), shortest(settings[i].lr), shortest(settings[i].weight_decay)});
  }
  fmt::print("{}", table(rows));
}

// What else training hangs on, with the first layer that says so: "layers.0: moe: balance_tokens: shard: ...".
std::vector<std::string> notes_of(const ModelConfig& c) {
  std::vector<std::string> all;
  std::set<std::string_view> told;
  const auto add = [&](const std::vector<LayerSpec>& layers, std::string_view stack) {
    for (size_t i = 0; i < layers.size(); ++i)
      for_all_inside(layers[i].block, [&](const Choice<LayerInfo>& part) {
        const std::string_view note = hangs_on(write(*part.copied_options()));
        if (!note.empty() && told.insert(note).second)
          all.push_back(fmt::format("{}layers.{}: {}: {}", stack, i, part.name(), note));
      });
  };
  add(c.layers, "");
  if (c.encoder) add(c.encoder->layers, "encoder.");
  return all;
}

nlohmann::json check_study(const Common& common, const std::string& file, const std::vector<std::string>& set) {
  Study study = read_study(file);
  study.set = set;
  const Plan plan = make_plan(std::move(study));
  if (!common.json)
    fmt::print("{}: ok, {} of {}\n", file, counted(static_cast<int64_t>(plan.count()), "run"),
               counted(static_cast<int64_t>(plan.arms.size()), "arm"));
  return {{"config", file}, {"exit_code", 0}, {"arms", plan.arms.size()}, {"runs", plan.count()}};
}

}  // namespace

ExitCode describe(const Common& common, const DescribeArgs& args) {
  const auto [c, vocab, text] = source_of(args.model, args.set);
  const ModelCost cost = count_cost(c.model, vocab, c.train.context, c.train.recomputes());
  const auto model = model_on_shapes(c.model, vocab);
  const double memory = plan_memory(c, *model, threads(), text).total();
  if (common.json) {
    nlohmann::json j = {{"context", cost.context},
                        {"vocab", vocab},
                        {"total", to_json(cost.total)},
                        {"active_parameters", cost.active_parameters},
                        {"parameters_shown", human_count(static_cast<double>(cost.total.parameters))},
                        {"kept_bytes_per_sequence", cost.kept_bytes},
                        {"training_bytes", memory}};
    for (const auto& l : cost.layers) j["layers"].push_back(to_json(l));
    for (const LengthCost& l : cost.lengths) j["lengths"].push_back(to_json(l));
    for (const std::string& note : notes_of(c.model)) j["notes"].push_back(note);
    print_json(j);
    return ExitCode::ok;
  }
  if (args.parameters) {
    print_parameters(c, vocab);
    return ExitCode::ok;
  }
  std::vector<std::vector<std::string>> rows = {
      {"layer", "parameters", "train FLOPs/token", "prefill FLOPs/token", "decode FLOPs", "state"}};
  for (const auto& l : cost.layers) rows.push_back(to_row(l));
  LayerCost total = cost.total;
  total.what = "total";
  rows.push_back(to_row(total));
  fmt::print("{}\ncontext {}, vocabulary {}\n{} {}, one sequence, f32\n\n", table(rows), cost.context, vocab,
             c.model.causal ? "decode and state: after" : "decode: a run over", counted(cost.context, "token"));
  if (cost.active_parameters != total.parameters)
    fmt::print("{} of {} are active: a token chooses among experts\n\n", cost.active_parameters,
               counted(total.parameters, "parameter"));
  for (const std::string& note : notes_of(c.model)) fmt::print("{}\n\n", note);
  std::vector<std::vector<std::string>> lengths = {{"tokens", "train FLOPs/token", "prefill FLOPs/token",
                                                    "decode FLOPs after them", "kept/token", "state", "KV cache"}};
  for (const LengthCost& l : cost.lengths) lengths.push_back(to_row(l));
  fmt::print(
      "{}\nKV cache: what multi-head attention in every layer would remember\nkept for backward: {} a sequence of {}\n"
      "training needs about {} with {}{}\n",
      table(lengths), human_bytes(cost.kept_bytes), counted(cost.context, "token"), human_bytes(memory),
      counted(threads(), "thread"), text.bytes ? "" : ", and its corpus, which is not there");
  return ExitCode::ok;
}

ExitCode check(const Common& common, const CheckArgs& args) {
  ExitCode code = ExitCode::ok;
  nlohmann::json all = nlohmann::json::array();
  for (const std::string& file : args.configs) {
    try {
      if (is_study(file)) {
        all.push_back(check_study(common, file, args.set));
        continue;
      }
      const RunConfig c = load_run_config(file, args.set);
      const Preflight ready = preflight(c);
      Diagnostics found;
      for (const Doubt& d : ready.doubts) found.error(d.where, d.message);
      found.throw_if_any();
      const ModelCost cost = count_cost(c.model, ready.tokenizer->vocab_size(), c.train.context, c.train.recomputes());
      all.push_back({{"config", file},
                     {"exit_code", 0},
                     {"parameters", cost.total.parameters},
                     {"train_flops_per_token", cost.total.train_flops},
                     {"training_bytes", ready.plan.total()},
                     {"note", ready.note}});
      if (!common.json)
        fmt::print("{}: ok, {}, {} FLOPs a token, about {} of memory{}\n", file,
                   human_counted(static_cast<double>(cost.total.parameters), "parameter"),
                   human_count(cost.total.train_flops), human_bytes(ready.plan.total()),
                   ready.note.empty() ? "" : "; " + ready.note);
    } catch (const Error& e) {
      all.push_back({{"config", file}, {"exit_code", static_cast<int>(e.code())}, {"error", e.what()}});
      const std::string what = e.what();  // most errors of a configuration begin with their place
      print_stderr(fmt::format("{}{}\n", what.starts_with(file) ? "" : file + ": ", what));
      code = e.code();
    }
  }
  if (common.json) print_json(all);
  return code;
}

}  // namespace effllm::app
