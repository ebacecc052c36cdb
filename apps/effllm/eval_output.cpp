#include "eval_output.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "base/terminal.h"
#include "base/text.h"
#include "eval/eval_plan.h"
#include "json_output.h"
#include "store/file.h"

namespace effllm::app {
namespace {

// What the result belongs to, beside the text.
nlohmann::json data_json(const LoadedModel& m, const EvalTarget& target) {
  nlohmann::json j = {{"tokenizer", m.tokenizer->kind()},
                      {"vocabulary", m.tokenizer->vocab_size()},
                      {"trained_on_before", m.earlier_data}};
  if (!target.split) return j;
  const CorpusIdentity c = target.corpus->identity();
  j.update({{"hash", c.hash()}, {"other_than_trained_on", target.other_than_trained_on}});
  if (!c.task.empty())
    j["task"] = c.task;
  else
    j.update({{"train_end", *c.train_end}, {"val_end", *c.val_end}, {"separator", *c.separator}});
  return j;
}

nlohmann::json losses_json(const EvalResult& r) {
  return {{"nats_per_token", r.nats_per_token()},
          {"stderr_nats", std::isfinite(r.stderr_nats) ? nlohmann::json(r.stderr_nats) : nlohmann::json()},
          {"bits_per_byte", r.bits_per_byte()},
          {"seconds", r.seconds}};
}

// "1.2345 bits/char, 1.1234 bits/byte, ", of what there is.
std::string bits_text(const EvalResult& r) {
  if (r.kind == TextKind::symbols) return "";
  const std::string per_char = r.characters ? fmt::format("{:.4f} bits/char, ", r.bits_per_char()) : "";
  return fmt::format("{}{:.4f} bits/byte, ", per_char, r.bits_per_byte());
}

// Of the file or split, all of which is counted: an error where it is not.
int64_t text_bytes(const EvalTarget& target, const EvalResult& r) {
  const auto bytes = static_cast<int64_t>(target.text().size());
  require(r.bytes + r.context_only.bytes + r.unread.bytes == bytes, "{} of {} are scored, {} context and {} not read",
          r.bytes, counted(bytes, "byte"), r.context_only.bytes, r.unread.bytes);
  return bytes;
}

void print_beside(std::string_view what, const EvalResult& r) {
  fmt::print("  {}: {:.4f} nats/token, {}perplexity {:.3f}, in {}\n", what, r.nats_per_token(), bits_text(r),
             r.perplexity(), human_seconds(r.seconds));
}

}  // namespace

std::string result_file_name(const LoadedModel& m, const EvalTarget& target, const EvalOptions& o,
                             const std::vector<int64_t>& lengths) {
  const EvalOptions own = fitted(evaluation_of(m.config), static_cast<int64_t>(target.tokens.tokens.size()),
                                 m.config.objective.type.build()->scored_ahead());
  EvalOptions usual = o;  // with the run's stride, or the protocol's where the run has another
  usual.protocol = own.protocol.name() == o.protocol.name() ? own.protocol : protocol(o.protocol.name());
  std::string name =
      fmt::format("{}-{}", target.split ? target.name : "text_" + target.file_sha256.substr(0, 12), o.protocol.name());
  if (o.tokens != own.tokens) name += fmt::format("-tokens_{}", o.tokens);
  if (stride_of(o) != stride_of(usual)) name += fmt::format("-stride_{}", stride_of(o));
  if (o.bound_samples != own.bound_samples) name += fmt::format("-bound_samples_{}", o.bound_samples);
  if (o.seed != own.seed) name += fmt::format("-seed_{}", o.seed);
  if (o.by_exit) name += "-exit_all";
  if (o.exit_layer) name += fmt::format("-exit_{}", o.exit_layer);
  if (!o.context_bands.empty()) name += "-by_position";
  if (o.max_tokens) name += fmt::format("-max_tokens_{}", o.max_tokens);
  if (!lengths.empty()) name += fmt::format("-lengths_{}", fmt::join(lengths, "_"));
  if (target.split && (!m.corpus.complete() || !target.other_than_trained_on.empty()))
    name += fmt::format("-corpus_{}", target.corpus->identity().hash().substr(0, 12));
  return name + ".json";
}

bool keep_result(const std::filesystem::path& file, const nlohmann::json& result) {
  try {
    write_file_atomic(file, json_text(result, 2) + "\n");
    return true;
  } catch (const IoError& e) {
    print_stderr(fmt::format("warning: the result is not kept with the run: {}\n", e.what()));
    return false;
  }
}

void print_result(const LoadedModel& m, const EvalTarget& target, const EvalOptions& o, const EvalResult& r) {
  fmt::print("{} (step {}) on {}: {}\n", m.checkpoint.string(), m.step,
             target.split ? fmt::format("{} of {}", target.name, target.corpus->manifest().name) : target.name,
             describe(o));
  const std::string spread = std::isfinite(r.stderr_nats) ? fmt::format(" +- {:.4f}", r.stderr_nats) : "";
  fmt::print("  {}{:.4f}{} nats/token, {}perplexity {:.3f}, over {} in {}\n", r.bound ? "<= " : "", r.nats_per_token(),
             spread, bits_text(r), r.perplexity(), counted(r.tokens, "token"), human_seconds(r.seconds));
  if (r.kind != TextKind::symbols) {
    fmt::print("  of {}: {} scored", counted(text_bytes(target, r), "byte"), r.bytes);
    if (r.context_only.bytes) fmt::print(", {} context alone", r.context_only.bytes);
    fmt::print("{}\n", r.unread.bytes ? fmt::format(", {} not read", r.unread.bytes) : "");
  }
  if (r.bound)
    fmt::print("  {}; {}\n", m.config.objective.type.build()->bound_of(),
               std::isfinite(r.bound_stderr)
                   ? fmt::format("draws alone give +- {:.4f} nats/token if one tells nothing of the next, and less as "
                                 "they are spread",
                                 r.bound_stderr)
                   : "one draw a window does not tell how exact (--bound-samples)");
  if (r.given_rest)
    fmt::print("  of the tokens that are missing, and where they end, given the rest: no likelihood of the text\n");
}

void add_left_to_right(nlohmann::json& j, const EvalResult& r) { j["left_to_right"] = losses_json(r); }

void print_left_to_right(const EvalResult& r) { print_beside("left to right", r); }

void add_pseudo_likelihood(nlohmann::json& j, const EvalResult& r) { j["pseudo_likelihood"] = losses_json(r); }

void print_pseudo_likelihood(const EvalResult& r) {
  fmt::print(
      "  each token given all others that it may see (a pseudo-likelihood, which bounds nothing): {:.4f} nats/token, "
      "in {}\n",
      r.nats_per_token(), human_seconds(r.seconds));
}

void add_training_choice(nlohmann::json& j, const EvalResult& r) {
  nlohmann::json& of = j["training_choice"] = losses_json(r);
  of["bits_per_char"] = r.characters ? nlohmann::json(r.bits_per_char()) : nlohmann::json();
  for (const Measured& m : r.layers) of["layers"][m.name] = m.value;
}

void print_training_choice(const EvalResult& r) {
  print_beside("with training's choice of tokens, which looks ahead", r);
  std::map<std::string_view, std::string> lines;  // of each metric the layers
  for (const Measured& m : r.layers) {
    const std::string place = m.name.substr(0, m.name.size() - std::min(m.name.size(), m.metric->name.size() + 1));
    std::string& line = lines[m.metric->name];
    line += fmt::format("{}{:.4f} in {}", line.empty() ? "" : ", ", m.value, place);
  }
  for (const auto& [metric, line] : lines) fmt::print("    {}: {}\n", metric, line);
}

void add_exits(nlohmann::json& j, const EvalResult& r) {
  j["exits"] = nlohmann::json::array();
  for (size_t layers = 1; layers <= r.exits.size(); ++layers) {
    const EvalResult at = r.at_exit(layers);
    j["exits"].push_back({{"layers", layers},
                          {"nats_per_token", at.nats_per_token()},
                          {"bits_per_char", at.characters ? nlohmann::json(at.bits_per_char()) : nlohmann::json()},
                          {"bits_per_byte", at.bits_per_byte()},
                          {"perplexity", at.perplexity()},
                          {"agreement", r.agreement(layers)}});
  }
  j["layers_needed"] = r.layers_needed();
}

void print_exits(const EvalResult& r) {
  std::vector<std::vector<std::string>> cells = {{"exit after", "nats/token"}};
  if (r.characters) cells[0].push_back("bits/char");
  cells[0].insert(cells[0].end(), {"bits/byte", "perplexity", "as the last"});
  for (size_t layers = 1; layers <= r.exits.size(); ++layers) {
    const EvalResult at = r.at_exit(layers);
    cells.push_back({counted(static_cast<int64_t>(layers), "layer"), fmt::format("{:.4f}", at.nats_per_token())});
    if (r.characters) cells.back().push_back(fmt::format("{:.4f}", at.bits_per_char()));
    cells.back().insert(cells.back().end(),
                        {fmt::format("{:.4f}", at.bits_per_byte()), fmt::format("{:.3f}", at.perplexity()),
                         fmt::format("{:.1f} %", 100 * r.agreement(layers))});
  }
  fmt::print("\n{}  the likeliest token is the last layer's, and stays so, after {:.2f} of {} in the mean\n",
             table(cells), r.layers_needed(), counted(static_cast<int64_t>(r.exits.size()), "layer"));
}

nlohmann::json result_json(const LoadedModel& m, const EvalTarget& target, const EvalOptions& o, const EvalResult& r) {
  nlohmann::json j = {{"schema_version", 1},
                      {"checkpoint", m.checkpoint.string()},
                      {"step", m.step},
                      {"data", data_json(m, target)},
                      {"protocol", describe(o)},
                      {"tokens", r.tokens},
                      {"bytes", r.bytes},
                      {"text", to_string(r.kind)},
                      {"characters", r.characters ? nlohmann::json(r.characters) : nlohmann::json()},
                      {"nats_per_token", r.nats_per_token()},
                      {"stderr_nats", std::isfinite(r.stderr_nats) ? nlohmann::json(r.stderr_nats) : nlohmann::json()},
                      {"bits_per_char", r.characters ? nlohmann::json(r.bits_per_char()) : nlohmann::json()},
                      {"bits_per_byte", r.bits_per_byte()},
                      {"perplexity", r.perplexity()},
                      {"bound", r.bound},
                      {"seconds", r.seconds}};
  if (r.kind != TextKind::symbols)
    j.update({{"text_bytes", text_bytes(target, r)},
              {"context_only", {{"tokens", r.context_only.tokens}, {"bytes", r.context_only.bytes}}},
              {"unread", {{"tokens", r.unread.tokens}, {"bytes", r.unread.bytes}}}});
  if (o.exit_layer) j["exit_layer"] = o.exit_layer;
  if (r.given_rest) j["given_rest"] = true;
  if (r.bound)
    j.update({{"bound_samples", o.bound_samples},
              {"seed", o.seed},
              {"bound_stderr", std::isfinite(r.bound_stderr) ? nlohmann::json(r.bound_stderr) : nlohmann::json()}});
  if (target.split)
    j.update({{"corpus", target.corpus->manifest().name},
              {"data_sha256", target.corpus->manifest().sha256},
              {"split", target.name}});
  else
    j.update({{"file", target.name}, {"file_sha256", target.file_sha256}});
  return j;
}

void add_baselines(nlohmann::json& j, const Baselines& all) {
  j["baselines"] = nlohmann::json::array();
  for (const Baseline& b : all.rows)
    j["baselines"].push_back({{"name", b.name},
                              {"before", b.before},
                              {"before_bytes", b.before_bytes},
                              {"adapts", b.adapts},
                              {"bits_per_byte", b.bits_per_byte}});
  j["left_out"] = nlohmann::json::array();
  for (const LeftOut& l : all.left_out) j["left_out"].push_back({{"name", l.name}, {"reason", l.reason}});
}

}  // namespace effllm::app
