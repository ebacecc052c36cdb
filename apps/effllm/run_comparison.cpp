#include "run_comparison.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/eval_plan.h"

namespace effllm::app {
namespace {

std::string number(const std::optional<int64_t>& n) { return n ? fmt::format("{}", *n) : ""; }

// False where they are pieces of one pass.
bool has_windows(const RunSummary& r) {
  const ProtocolInfo* p = all_protocols.find_if_any(r.protocol);
  return !p || !p->carried;
}

struct Aspect {
  std::string_view name;
  bool of_evaluation;  // says nothing of a loss of training
  std::string (*of)(const RunSummary&);
};

constexpr Aspect kAspects[] = {
    {"corpus", false, [](const RunSummary& r) { return r.corpus + "\n" + r.data_hash; }},
    {"data.tokenizer", false, [](const RunSummary& r) { return r.tokenizer; }},
    {"data.reset", false, [](const RunSummary& r) { return r.reset; }},
    {"eval.split", true, [](const RunSummary& r) { return r.split; }},
    {"eval.protocol", true, [](const RunSummary& r) { return r.protocol; }},
    {"eval.tokens", true, [](const RunSummary& r) { return has_windows(r) ? number(r.eval_tokens) : ""; }},
    {"eval.stride", true, [](const RunSummary& r) { return number(stride_of(r)); }},
    {"eval.max_tokens", true, [](const RunSummary& r) { return number(r.eval_max_tokens); }},
};

bool differs(const Aspect& a, const std::vector<RunSummary>& all) {
  const RunSummary* first = nullptr;
  for (const RunSummary& r : all) {
    if (!r.best_loss && (a.of_evaluation || !r.train_loss)) continue;
    if (!r.protocol.empty() && a.of(r).empty()) continue;  // its protocol knows no such thing
    if (first && a.of(*first) != a.of(r)) return true;
    first = &r;
  }
  return false;
}

}  // namespace

std::vector<std::string_view> differing(const std::vector<RunSummary>& all) {
  std::vector<std::string_view> names;
  for (const Aspect& a : kAspects)
    if (differs(a, all)) names.push_back(a.name);
  return names;
}

std::optional<int64_t> stride_of(const RunSummary& r) {
  const ProtocolInfo* p = all_protocols.find_if_any(r.protocol);
  if (!p || describe(*p->options()).empty() || !r.eval_tokens) return std::nullopt;
  return protocol(r.protocol, r.eval_stride).build()->stride(*r.eval_tokens);
}

std::string evaluated_on(const RunSummary& r, const std::vector<std::string_view>& differ) {
  if (!r.best_loss || r.split.empty()) return "-";
  const auto in = [&](std::string_view name) { return std::ranges::find(differ, name) != differ.end(); };
  std::string text = fmt::format("{}, {}", r.split, r.protocol.empty() ? "-" : r.protocol);
  if (has_windows(r) && r.eval_tokens && (r.eval_tokens != r.context || in("eval.tokens")))
    text += fmt::format(" of {}", *r.eval_tokens);
  if (const auto stride = stride_of(r); stride && (r.eval_stride || in("eval.stride")))
    text += fmt::format(", stride {}", *stride);
  if (r.eval_max_tokens.value_or(0) > 0) text += fmt::format(", first {}", *r.eval_max_tokens);
  if (r.reset == "document") text += ", reset at documents";
  return text;
}

}  // namespace effllm::app
