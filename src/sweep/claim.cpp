#include "sweep/claim.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"

namespace effllm {
namespace {

using Kind = ClaimMetric::Kind;

constexpr std::string_view kPredictions[] = {"lower", "higher", "within"};

std::vector<std::string_view> metric_names() {
  std::vector<std::string_view> names;
  for (const ClaimMetric& m : claim_metrics()) names.push_back(m.name);
  return names;
}

void check(const ClaimOptions& c, const std::vector<std::string>& arms, Diagnostics& found) {
  const auto wrong = [&](const std::string& what) { found.error(c.mark, fmt::format("claim {}: {}", c.name, what)); };
  if (c.source.empty() || c.statement.empty())
    wrong("it needs `source`, where it is from, and `statement`, what is said");
  if (c.arms.size() != 2) wrong("it needs `arms`, two of the study's, such as [new, plain]");
  for (const std::string& a : c.arms)
    if (std::ranges::find(arms, a) == arms.end())
      wrong(fmt::format("the study has no arm {}.{}", a, did_you_mean(a, arms)));
  if (c.arms.size() == 2 && c.arms[0] == c.arms[1]) wrong("an arm is held against itself");
  if (c.predicts.empty() == c.ratio.empty()) wrong("it needs one of `predicts` and `ratio`");
  if (!c.predicts.empty() && std::ranges::find(kPredictions, c.predicts) == std::end(kPredictions))
    wrong(fmt::format("`predicts` must be one of lower, higher, within, not `{}`", c.predicts));
  if (!c.ratio.empty() && (c.ratio.size() != 2 || !(c.ratio[0] > 0) || !(c.ratio[0] < c.ratio[1])))
    wrong("`ratio` is the least and the largest factor that it allows, such as [1.5, 3]");
  if (c.predicts == "within" && !(c.margin > 0))
    wrong("`within` needs `margin`, the largest difference that it allows");
  if (!c.ratio.empty() && c.margin != 0) wrong("`margin` is of `predicts`; `ratio` says both ends");
  if (c.measure().kind == Kind::speedup && c.ratio.empty()) wrong(c.metric + " is a factor: say it by `ratio`");
}

}  // namespace

const std::vector<ClaimMetric>& claim_metrics() {
  static const std::vector<ClaimMetric> all = {{"bits_per_char", "bits_per_char", Kind::score},
                                               {"bits_per_byte", "bits_per_byte", Kind::score},
                                               {"bits_per_token", "bits_per_token", Kind::score},
                                               {"nats_per_token", "nats_per_token", Kind::score},
                                               {"accuracy", "accuracy", Kind::score},
                                               {"parameters", "parameters", Kind::size},
                                               {"train_flops", "train_flops_per_token", Kind::size},
                                               {"decode_flops", "decode_flops_per_token", Kind::size},
                                               {"state_bytes", "state_bytes", Kind::size},
                                               {"speedup_tokens", "tokens", Kind::speedup},
                                               {"speedup_flops", "FLOPs", Kind::speedup},
                                               {"speedup_seconds", "seconds", Kind::speedup}};
  return all;
}

void ClaimOptions::visit(OptionVisitor& v) {
  v("name", name, "Names the claim; default: claim-1, claim-2 and so on.");
  v("source", source, "Says where the claim is from: a paper with its section or table, a person.");
  v("statement", statement, "Says the claim in a sentence.");
  v("metric", metric, "Chooses what the arms are held against each other by.", metric_names());
  v("arms", arms, "Names two arms: what the first is to the second.");
  v("predicts", predicts,
    "Says what the first arm's metric is to the second's: lower, higher, or within `margin` on either side.");
  v("margin", margin, "Sets the difference that must be more than this (lower, higher), or less (within).",
    at_least(0));
  v("ratio", ratio, "Gives the least and the largest factor of the first arm's metric to the second's.");
  v("level", level, "Sets the level of the interval that decides.", between(0.5, 0.9999));
}

const ClaimMetric& ClaimOptions::measure() const {
  return *std::ranges::find(claim_metrics(), metric, &ClaimMetric::name);
}

ClaimOptions::Region ClaimOptions::region() const {
  if (is_ratio()) return {ratio[0], ratio[1]};
  if (predicts == "within") return {-margin, margin};
  Region r;
  predicts == "lower" ? r.high = -margin : r.low = margin;
  return r;
}

std::string ClaimOptions::prediction() const {
  const bool speedup = measure().kind == Kind::speedup;
  if (is_ratio() && speedup)
    return fmt::format("{} of {} over {}: {} to {}", metric, arms[0], arms[1], shortest(ratio[0]), shortest(ratio[1]));
  if (is_ratio())
    return fmt::format("{} of {} is {} to {} times that of {}", metric, arms[0], shortest(ratio[0]), shortest(ratio[1]),
                       arms[1]);
  if (predicts == "within")
    return fmt::format("{} of {} is within {} of that of {}", metric, arms[0], shortest(margin), arms[1]);
  return fmt::format("{} of {} is {} than that of {}{}", metric, arms[0], predicts, arms[1],
                     margin > 0 ? " by more than " + shortest(margin) : "");
}

std::vector<ClaimOptions> read_claims(const std::vector<ConfigNode>& list, const std::vector<std::string>& arms,
                                      Diagnostics& found) {
  std::vector<ClaimOptions> all;
  std::set<std::string> names;
  for (const ConfigNode& n : list) {
    ClaimOptions c;
    c.mark = n.mark();
    Diagnostics own;
    read(c, n, "a claim", own);
    const bool readable = own.empty();
    found.collect([&] {
      own.throw_if_any();
      return 0;
    });
    if (c.name.empty()) c.name = fmt::format("claim-{}", all.size() + 1);
    if (readable) check(c, arms, found);
    if (!names.insert(c.name).second) found.error(c.mark, fmt::format("two claims are called {}", c.name));
    all.push_back(std::move(c));
  }
  return all;
}

}  // namespace effllm
