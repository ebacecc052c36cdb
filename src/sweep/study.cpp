#include "sweep/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/escapes.h"
#include "store/file.h"

namespace effllm {
namespace {

constexpr std::string_view kSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-";
constexpr size_t kLongestName = 100;

struct StudyOptions final : Options {
  std::string name, base;
  ConfigNode arms, grid, tune, match, eval;
  std::vector<ConfigNode> list, claims;
  int64_t seeds = 3, confirm = 0;
  std::optional<int64_t> tune_seeds;
  void visit(OptionVisitor& v) override {
    v("name", name, "Names the study; default: the file's name.");
    v("base", base, "Names the configuration that arms change, relative to the study. Its horizon is the budget.");
    v("arms", arms, "Names arms, each with a map of keys and values, as --set takes them (`~key:` for the default).");
    v("grid", grid, "Lists values of keys: an arm for each combination, named by them.");
    v("list", list, "Lists maps of keys and values: an arm for each, named by them.");
    v("seeds", seeds,
      "Sets how often each arm is trained; data.seed and train.seed count up from those of the base, so that seed s "
      "of every arm reads the same data.",
      between(1, 1000));
    v("tune", tune, "Lists values of keys of which each arm gets its best, by the mean validation loss of its seeds.");
    v("tune_seeds", tune_seeds,
      "Sets how many of the seeds, the first, train every value of `tune`, and choose; the others train what they have "
      "chosen, and no more. Default: all of them.",
      between(1, 1000));
    v("match", match, "Makes arms alike in size.");
    v("eval", eval, "Says how trained models are scored.");
    v("claims", claims, "Lists what is said beforehand that the study will find, each with the rule that judges it.");
    v("confirm", confirm,
      "Sets how many more seeds `effllm sweep --confirm` trains of what was chosen, by which claims are judged anew.",
      between(0, 1000));
  }
};

bool safe(std::string_view s) {
  return !s.empty() && s.size() <= kLongestName && s.front() != '.' && s.front() != '-' &&
         s.find_first_not_of(kSafe) == s.npos;
}

std::string no_folder(std::string_view name) {
  return name.size() > kLongestName
             ? fmt::format("the name `{}` is too long for a folder: at most {} letters", name, kLongestName)
             : fmt::format("the name `{}` can't be a folder: letters, digits and ._-+ only, and none of .- first",
                           name);
}

std::vector<WrittenOverride> overrides_of(const ConfigNode& map, Diagnostics& found) {
  std::vector<WrittenOverride> all;
  if (map.is_null()) return all;
  if (!map.is_map()) found.error(map.mark(), "an arm is a map of keys and values, such as {optim.beta2: 0.99}");
  for (const auto& e : map.entries()) {
    const std::string_view path = e.key;
    if (path == "train.seed" || path == "data.seed" || path == "name")
      found.error(e.key_mark,
                  fmt::format("`{}` is the study's: `seeds` counts them, and runs have names of their own", path));
    all.push_back({e.key, e.value, e.key_mark});
  }
  return all;
}

// Named by what they change; keys that end alike by all of theirs.
StudyArm named_by(std::vector<WrittenOverride> overrides, const Mark& mark) {
  std::multiset<std::string> lasts;
  for (const auto& o : overrides) lasts.insert(name_of_key(o.path, false));
  std::string name;
  for (const auto& o : overrides) {
    const std::string last = name_of_key(o.path, false);
    name += (name.empty() ? "" : "+") + name_of_key(o.path, lasts.count(last) > 1);
    if (!o.value.is_null()) name += "-" + name_of(o.value);
  }
  return {name.empty() ? "base" : name, mark, std::move(overrides)};
}

// Each key with a list of values.
std::vector<TuneKey> lists_of(const ConfigNode& map, std::string_view what, Diagnostics& found) {
  std::vector<TuneKey> all;
  if (map.is_null()) return all;
  if (!map.is_map())
    found.error(map.mark(), fmt::format("`{0}` is a map of lists, such as {0}: {{optim.lr: [1e-3, 2e-3]}}", what));
  for (const auto& e : map.entries()) {
    if (!e.value.is_list() || e.value.items().empty()) {
      found.error(e.key_mark, fmt::format("`{}` of `{}` needs a list of values, such as [1e-3, 2e-3]", e.key, what));
      continue;
    }
    std::set<std::string> names;
    for (const ConfigNode& v : e.value.items())
      if (!names.insert(name_of(v)).second)
        found.error(v.mark(), fmt::format("`{}` has two values that are called {}", e.key, name_of(v)));
    all.push_back({e.key, e.key_mark, e.value.items()});
    overrides_of(ConfigNode::map().with(e.key, e.value.items().front()), found);
  }
  return all;
}

std::vector<StudyArm> product(const std::vector<TuneKey>& grid, const Mark& mark) {
  std::vector<std::vector<WrittenOverride>> all(1);
  for (const TuneKey& k : grid) {
    std::vector<std::vector<WrittenOverride>> more;
    for (const auto& before : all)
      for (const ConfigNode& v : k.values) {
        more.push_back(before);
        more.back().push_back({k.key, v, k.mark});
      }
    all = std::move(more);
  }
  std::vector<StudyArm> arms;
  for (auto& o : all) arms.push_back(named_by(std::move(o), mark));
  return arms;
}

std::vector<StudyArm> arms_of(const StudyOptions& o, Diagnostics& found) {
  std::vector<StudyArm> arms;
  if (static_cast<int>(!o.arms.is_null()) + static_cast<int>(!o.grid.is_null()) + static_cast<int>(!o.list.empty()) !=
      1) {
    found.error(o.mark, "a study has arms by one of `arms`, `grid` and `list`");
    return arms;
  }
  if (!o.arms.is_null() && !o.arms.is_map())
    found.error(o.arms.mark(), "`arms` is a map of names, each with a map of keys and values");
  for (const auto& e : o.arms.entries()) {
    if (!safe(e.key)) found.error(e.key_mark, no_folder(e.key));
    arms.push_back({e.key, e.key_mark, overrides_of(e.value, found)});
  }
  if (!o.grid.is_null()) arms = product(lists_of(o.grid, "grid", found), o.grid.mark());
  for (const ConfigNode& n : o.list) arms.push_back(named_by(overrides_of(n, found), n.mark()));
  std::set<std::string> names;
  for (const StudyArm& a : arms) {
    if (o.arms.is_null() && !safe(a.name))
      found.error(a.mark, fmt::format("the arm's name `{}` is too long: name it in `arms`", a.name));
    if (!names.insert(a.name).second) found.error(a.mark, fmt::format("two arms are called {}", a.name));
  }
  return arms;
}

template <class O>
O read_part(const ConfigNode& node, std::string_view name, Diagnostics& found) {
  O o;
  o.mark = node.mark();
  if (!node.is_null()) read(o, node, name, found);
  return o;
}

}  // namespace

void MatchOptions::visit(OptionVisitor& v) {
  v("what", what,
    "Says what is to be equal: parameters, FLOPs of training a token, bytes of state after the context, or the time of "
    "training a token, which is measured.",
    {"params", "flops", "state", "time"});
  v("to", to, "Gives the size, a number (of time: seconds for a token), or the arm whose size it is.");
  v("tol", tol, "Sets the largest difference, as a part of the size, with which a study is begun.", between(0, 1));
  v("key", key, "Names the key that is solved for in every other arm, a number that the size grows with.");
  v("step", step, "Takes multiples of this number alone; 0.01 would suit a key such as model.block.ffn.expand.",
    between(1e-4, 1 << 20));
}

void StudyEvalOptions::visit(OptionVisitor& v) {
  v("split", split, "Chooses the split that is reported; another than the one that checkpoints are chosen on.",
    {"train", "val", "test"});
  v("protocol", protocol, "Says how the split is cut up; default: as the configuration says.");
  v("tokens", tokens, "Sets the tokens of a window; default: as the configuration says.", between(1, kMostTokens));
  v("stride", stride, "Sets the tokens between windows of a protocol that has some.", between(1, kMostTokens));
  v("max_tokens", max_tokens, "Scores only the first so many tokens; 0: all of the split.", at_least(0));
  v("baselines", baselines, "Adds n-gram models and compressors on the same text.");
}

std::string name_of(const ConfigNode& value) {
  const ConfigNode* type = value.is_map() ? value.find("type") : nullptr;
  std::string text = type && type->is_scalar() ? type->text() : value.is_scalar() ? value.text() : to_flow_yaml(value);
  for (char& c : text)
    if (kSafe.find(c) == kSafe.npos) c = '_';
  return text;
}

std::string name_of_key(std::string_view key, bool whole) {
  if (key.starts_with('~')) return "no_" + name_of_key(key.substr(1), whole);
  std::string text(whole ? key : key.substr(key.find_last_of('.') + 1));
  for (char& c : text)
    if (c == '.' || kSafe.find(c) == kSafe.npos) c = '_';
  return text;
}

Study read_study(const std::filesystem::path& file) {
  ConfigNode root;
  try {
    root = parse_config(read_file(file, 1 << 20), file.string());
  } catch (const IoError& e) {
    throw ConfigError("the study can't be read: {}", e.what());
  }
  if (root.is_null())
    throw ConfigError("{}: the study is empty: it needs `base` and one of `arms`, `grid` and `list`", file.string());
  Diagnostics found;
  const auto o = read_part<StudyOptions>(root, "the study", found);
  Study s;
  s.name = o.name.empty() ? file.stem().string() : o.name, s.file = file, s.mark = root.mark(), s.seeds = o.seeds;
  if (o.base.empty()) found.error(root.mark(), "a study needs `base`, the configuration that its arms change");
  const ConfigNode *base = root.is_map() ? root.find("base") : nullptr,
                   *name = root.is_map() ? root.find("name") : nullptr;
  s.base_mark = base ? base->mark() : root.mark();
  s.base = (file.parent_path() / path_of_text(o.base)).lexically_normal();
  if (!safe(s.name)) found.error(name ? name->mark() : root.mark(), no_folder(s.name));
  s.arms = arms_of(o, found);
  s.tune = lists_of(o.tune, "tune", found);
  s.tune_seeds = o.tune_seeds.value_or(s.seeds);
  const Mark written = o.tune_seeds ? root.find("tune_seeds")->mark() : root.mark();
  if (o.tune_seeds && s.tune.empty())
    found.error(written, "`tune_seeds` is for `tune`, which the study doesn't have");
  else if (s.tune_seeds > s.seeds)
    found.error(written, fmt::format("`tune_seeds` {} is more than the seeds of the study, {}", s.tune_seeds, s.seeds));
  for (const StudyArm& a : s.arms)
    for (const WrittenOverride& w : a.overrides)
      if (const std::string key = w.path.substr(w.path.starts_with('~'));
          std::ranges::find(s.tune, key, &TuneKey::key) != s.tune.end())
        found.error(w.mark, fmt::format("arm {} sets {}, which `tune` chooses: leave one of them out", a.name, key));
  if (!o.match.is_null()) {
    s.match = read_part<MatchOptions>(o.match, "match", found);
    if (s.match->what.empty() || s.match->to.empty())
      found.error(o.match.mark(), "`match` needs `what` and `to`, such as {what: params, to: 800000}");
  }
  s.eval = read_part<StudyEvalOptions>(o.eval, "eval", found);
  std::vector<std::string> arms;
  for (const StudyArm& a : s.arms) arms.push_back(a.name);
  s.claims = read_claims(o.claims, arms, found);
  s.confirm = o.confirm;
  if (s.confirm > 0 && s.claims.empty())
    found.error(root.mark(), "`confirm` is for `claims`, of which the study has none");
  found.throw_if_any();
  return s;
}

bool is_study(const std::filesystem::path& file) {
  try {
    const ConfigNode root = parse_config(read_file(file, 1 << 20), file.string());
    return root.find("arms") || root.find("grid") || root.find("list");
  } catch (const Error&) {
    return false;
  }
}

std::vector<ConfigSection> study_sections() {
  std::vector<ConfigSection> all;
  all.push_back(section<StudyOptions>("", "The study."));
  all.push_back(section<MatchOptions>(
      "match", "Sizes that are solved for before anything runs, on shapes alone or by timing steps."));
  all.push_back(section<StudyEvalOptions>("eval", "Scores of trained models, as of `effllm eval`."));
  all.push_back(section<ClaimOptions>("claims[]", "What is said beforehand that the study will find."));
  return all;
}

}  // namespace effllm
