#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "sweep/compare.h"

namespace effllm {
namespace {

using nlohmann::json;

// Numbers for people have four digits behind the point, differences their sign.
struct Writer {
  bool exact;
  std::string value(double v) const { return exact ? shortest(v) : fmt::format("{:.4f}", v); }
  std::string difference(double v) const { return exact ? shortest(v) : fmt::format("{:+.4f}", v); }
  // With its 95 % interval, for people.
  std::string mean(const Estimate& e) const {
    return value(e.value) + (!exact && e.has_spread() ? " ± " + value(e.half_width(0.95)) : "");
  }
  std::string count(double v) const { return exact ? shortest(v) : human_count(v); }
  std::string bytes(int64_t v) const { return exact ? fmt::format("{}", v) : human_bytes(static_cast<double>(v)); }
};

std::string verdict_text(const ArmRow& a, const Writer& w) {
  if (a.comparison.verdict == Verdict::none) return "no verdict: " + a.comparison.reason;
  if (a.comparison.verdict != Verdict::undecided) return std::string(to_string(a.comparison.verdict));
  return fmt::format("undecided: {} would be seen", w.value(a.detectable));
}

json number_or_null(double v, bool known) { return known && std::isfinite(v) ? json(v) : json(); }

}  // namespace

std::vector<std::vector<std::string>> rows_of(const StudyTable& t, bool exact) {
  const Writer w{exact};
  std::vector<std::string> header = {"arm", "parameters", "FLOPs/token", "decode FLOPs", "state", "tokens"};
  if (exact) header = {"arm", "parameters", "train_flops_per_token", "decode_flops_per_token", "state_bytes", "tokens"};
  const bool tuned = std::ranges::any_of(t.arms, [](const ArmRow& a) { return !a.chosen.empty(); });
  if (tuned) header.emplace_back("chosen");
  const bool accuracy = std::ranges::any_of(t.arms, [](const ArmRow& a) { return a.accuracy.has_value(); });
  const std::string unit = exact ? "" : fmt::format(" ({})", t.unit);
  header.insert(header.end(), {t.chosen_on + unit, t.split + unit});
  if (accuracy) header.emplace_back("accuracy");
  const bool ahead = std::ranges::any_of(t.arms, [](const ArmRow& a) { return a.training_choice.has_value(); });
  if (ahead) header.emplace_back(exact ? "training_choice" : "training's choice");
  if (exact)
    header.insert(header.end(), {"half_width_95", "seeds", "difference", "difference_lo", "difference_hi", "p",
                                 "detectable", "verdict", "reason"});
  else
    header.insert(header.end(), {"difference", "verdict"});
  std::vector<std::vector<std::string>> rows = {header};
  for (const ArmRow& a : t.arms) {
    std::vector<std::string> row = {a.name,
                                    w.count(static_cast<double>(a.parameters)),
                                    w.count(a.flops_per_token),
                                    a.decode_flops_per_token > 0 ? w.count(a.decode_flops_per_token)
                                    : exact                      ? ""
                                                                 : "-",
                                    w.bytes(a.state_bytes),
                                    a.tokens ? w.count(static_cast<double>(a.tokens))
                                    : exact  ? ""
                                             : "-"};
    std::string chosen;
    for (const auto& [key, value] : a.chosen) chosen += fmt::format("{}{} {}", chosen.empty() ? "" : ", ", key, value);
    const bool has = !a.scores.empty(), tested = a.comparison.level > 0;
    const auto or_empty = [&](bool there, const std::string& text) {
      return there ? text : std::string(exact ? "" : "-");
    };
    if (tuned) row.push_back(or_empty(has, chosen));
    const std::string at_most = a.bound && !exact ? "<= " : "";
    row.push_back(or_empty(has, at_most + w.value(a.chosen_on)));
    const double half = a.reported.half_width(0.95);
    const Comparison& c = a.comparison;
    row.push_back(or_empty(has, at_most + w.mean(a.reported)));
    if (accuracy) row.push_back(a.accuracy ? w.mean(*a.accuracy) : or_empty(false, ""));
    if (ahead) row.push_back(a.training_choice ? w.mean(*a.training_choice) : or_empty(false, ""));
    if (exact) {
      row.insert(row.end(), {or_empty(a.reported.has_spread(), w.value(half)), fmt::format("{}", a.scores.size()),
                             or_empty(tested, w.difference(c.difference.value)), or_empty(tested, w.difference(c.lo)),
                             or_empty(tested, w.difference(c.hi)), or_empty(tested, shortest(c.p)),
                             or_empty(tested, w.value(a.detectable)),
                             a.baseline ? "baseline" : std::string(to_string(c.verdict)), c.reason});
    } else {
      row.push_back(or_empty(tested, fmt::format("{} [{}, {}]", w.difference(c.difference.value), w.difference(c.lo),
                                                 w.difference(c.hi))));
      row.push_back(a.baseline ? "baseline" + (c.reason.empty() ? "" : ": " + c.reason) : verdict_text(a, w));
    }
    rows.push_back(std::move(row));
  }
  const size_t reported = tuned ? 8 : 7;
  for (const TextRow& x : t.texts) {
    std::vector<std::string> row(header.size(), exact ? "" : "-");
    row[0] = x.name + (x.before == "nothing" ? "" : ", after " + x.before);
    row[reported] = w.value(x.value);
    row.back() = "";
    rows.push_back(std::move(row));
  }
  return rows;
}

json to_json(const StudyTable& t) {
  json j = {{"schema_version", 1},   {"study", t.study},         {"unit", t.unit},
            {"split", t.split},      {"chosen_on", t.chosen_on}, {"protocol", t.protocol},
            {"corpus", t.corpus},    {"seeds", t.seeds},         {"level", 0.95},
            {"arms", json::array()}, {"texts", json::array()}};
  for (const ArmRow& a : t.arms) {
    const bool has = !a.scores.empty(), tested = a.comparison.level > 0;
    json chosen = json::object();
    for (const auto& [key, value] : a.chosen) chosen[key] = value;
    j["arms"].push_back(
        {{"arm", a.name},
         {"baseline", a.baseline},
         {"parameters", a.parameters},
         {"train_flops_per_token", a.flops_per_token},
         {"decode_flops_per_token", number_or_null(a.decode_flops_per_token, a.decode_flops_per_token > 0)},
         {"state_bytes", a.state_bytes},
         {"matched", a.matched},
         {"tokens", has ? json(a.tokens) : json()},
         {"chosen", chosen},
         {"notes", a.notes},
         {"bound", a.bound},
         {"chosen_on", number_or_null(a.chosen_on, has)},
         {"scores", a.scores},
         {"reported", number_or_null(a.reported.value, has)},
         {"half_width", number_or_null(a.reported.half_width(0.95), has)},
         {"accuracy", a.accuracy ? json(a.accuracy->value) : json()},
         {"training_choice", a.training_choice ? json(a.training_choice->value) : json()},
         {"difference", number_or_null(a.comparison.difference.value, tested)},
         {"difference_lo", number_or_null(a.comparison.lo, tested)},
         {"difference_hi", number_or_null(a.comparison.hi, tested)},
         {"paired", a.paired},
         {"p", number_or_null(a.comparison.p, tested)},
         {"test_level", number_or_null(a.comparison.level, tested)},
         {"detectable", number_or_null(a.detectable, tested)},
         {"verdict", std::string(to_string(a.comparison.verdict))},
         {"reason", a.comparison.reason}});
  }
  for (const TextRow& x : t.texts) j["texts"].push_back({{"name", x.name}, {"before", x.before}, {"value", x.value}});
  return j;
}

// What chooses the values that are tuned.
std::string choosers(const StudyTable& t) {
  if (t.tune_seeds < t.seeds)
    return t.tune_seeds == 1 ? "seed 1" : fmt::format("the mean of seeds 1 to {}", t.tune_seeds);
  return t.seeds == 1 ? "the score" : "the mean";
}

std::vector<std::string> footnotes(const StudyTable& t) {
  std::vector<std::string> lines;
  const std::string_view how =
      std::ranges::all_of(t.arms, [](const ArmRow& a) { return a.comparison.level == 0 || a.paired; })
          ? "paired by seed"
          : "paired by seed where both read the same data, Welch's otherwise";
  const std::string mean =
      t.seeds == 1 ? "of one seed, which has no interval"
                   : fmt::format("mean over {} with its 95 % interval by Student's t", counted(t.seeds, "seed"));
  lines.push_back(fmt::format("{} of {}, {}: {}; what is tuned is chosen by {} on {}", t.split, t.corpus, t.protocol,
                              mean, choosers(t), t.chosen_on));
  if (t.seeds > 1)
    lines.push_back(
        fmt::format("differences to the baseline, {}, after Holm at 5 % for all arms together; undecided: the "
                    "difference that would be seen in 80 % of such studies",
                    how));
  for (const ArmRow& a : t.arms) {
    if (!a.matched.empty()) lines.push_back(a.name + ": " + a.matched);
    for (const std::string& note : a.notes) lines.push_back(a.name + ": " + note);
  }
  lines.insert(lines.end(), t.texts_left_out.begin(), t.texts_left_out.end());
  return lines;
}

}  // namespace effllm
