#include "sweep/match_arms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "sweep/blame.h"
#include "sweep/timed_sizes.h"
#include "train/preflight.h"

namespace effllm {
namespace {

constexpr double kWidest = 1 << 16;

ConfigNode number(double n, const Mark& mark) { return ConfigNode::scalar(shortest(n), mark); }

// The `count`-th multiple of match.step, without the noise of its last digits.
double multiple(const MatchOptions& m, int64_t count) {
  return std::strtod(fmt::format("{:.12g}", m.step * static_cast<double>(count)).c_str(), nullptr);
}
int64_t most_of(const MatchOptions& m) { return static_cast<int64_t>(kWidest / m.step); }

class Matcher {
 public:
  Matcher(Study& study, const ConfigNode& base, std::vector<ConfigNode>& trees, TimedSizes* sizes)
      : study_(study), base_(base), trees_(trees), sizes_(sizes) {}

  std::vector<std::string> all() {
    matched_.resize(trees_.size());
    if (!study_.match) return matched_;
    const MatchOptions& m = *study_.match;
    char* end = nullptr;
    double target = std::strtod(m.to.c_str(), &end);
    const auto like = std::ranges::find(study_.arms, m.to, &StudyArm::name);
    const bool timed = m.what == "time";
    if (like != study_.arms.end() && !timed)
      target = with_blame(study_, base_, *like, {}, [&](const ConfigNode& root) { return sized(root); }).of(m.what);
    else if (like == study_.arms.end() && (*end || !(target > 0) || !std::isfinite(target)))
      throw_at(m.mark, fmt::format("match.to: `{}` is neither a size nor an arm", m.to));
    for (size_t a = 0; a < trees_.size(); ++a)
      if (like == study_.arms.end() || &study_.arms[a] != &*like)
        timed ? match_time(a, like == study_.arms.end() ? nullptr : &*like, target) : match(a, target);
    return matched_;
  }

 private:
  RunConfig config_of(const ConfigNode& root) const { return read_run_config(root, study_.base); }

  ModelSize sized(const ConfigNode& root) const {
    const RunConfig c = config_of(root);
    return size_of(c, vocab_of(c));
  }

  void match(size_t a, double target) {
    const MatchOptions& m = *study_.match;
    const auto with = [&](int64_t n) {
      ConfigNode root = trees_[a];
      assign(root, {m.key, number(multiple(m, n), m.mark), m.mark});
      return root;
    };
    const int64_t vocab = with_blame(study_, base_, study_.arms[a], {},
                                     [&](const ConfigNode& root) { return vocab_of(config_of(root)); });
    const auto value = [&](int64_t n) -> std::optional<double> {
      try {
        return size_of(config_of(with(n)), vocab).of(m.what);
      } catch (const ConfigError&) {  // heads that don't divide it
        return std::nullopt;
      } catch (const ShapeError&) {  // larger than any memory
        return std::nullopt;
      } catch (const MemoryError&) {
        return std::nullopt;
      }
    };
    const std::string& name = study_.arms[a].name;
    const auto n = nearest(value, target, 1, most_of(m));
    if (!n) {
      with_blame(study_, base_, study_.arms[a], {{m.key, number(m.step, m.mark), m.mark}},
                 [&](const ConfigNode& root) { return config_of(root), true; });  // says what is wrong with all of them
      throw_at(m.mark, fmt::format("match: no multiple of {} is a {} of arm {}", shortest(m.step), m.key, name));
    }
    settle(a, multiple(m, *n), *value(*n) / target - 1, shortest(target) + " " + m.what);
  }

  // By the measured time of a step, held against that of the arm that it is to be like, or against seconds for a token.
  void match_time(size_t a, const StudyArm* like, double target) {
    const MatchOptions& m = *study_.match;
    const std::string& name = study_.arms[a].name;
    const std::string than = like ? like->name + " in time" : shortest(target) + " seconds a token";
    if (!sizes_) {
      matched_[a] = m.key + ": measured by sweep";
      return;
    }
    const auto before = sizes_->kept(m, name);
    auto size = before;
    if (!size) {
      std::map<int64_t, std::optional<double>> ratios;
      const auto ratio = [&](int64_t n) {
        const auto [it, first] = ratios.emplace(n, std::nullopt);
        if (first) it->second = time_ratio(a, n, like, target);
        return it->second;
      };
      const auto n = nearest(ratio, 1, 1, most_of(m));
      if (!n) throw_at(m.mark, fmt::format("match: steps of arm {} can't be timed with any {}", name, m.key));
      size = TimedSizes::Size{multiple(m, *n), *ratio(*n)};
    }
    settle(a, size->value, size->ratio - 1, than);
    if (!before) sizes_->keep(m, name, *size);
  }

  // Unset where there is no such model.
  std::optional<double> time_ratio(size_t a, int64_t n, const StudyArm* like, double target) const {
    const MatchOptions& m = *study_.match;
    try {
      ConfigNode root = trees_[a];
      assign(root, {m.key, number(multiple(m, n), m.mark), m.mark});
      const RunConfig config = config_of(root);
      if (!like) return sizes_->ratio(config, nullptr, target);
      const RunConfig other = config_of(trees_[static_cast<size_t>(like - study_.arms.data())]);
      return sizes_->ratio(config, &other, 0);
    } catch (const ConfigError&) {
      return std::nullopt;
    } catch (const ShapeError&) {
      return std::nullopt;
    }
  }

  // Arm `a` gets the value `n` of match.key, which is `off` more than what it is to be like.
  void settle(size_t a, double n, double off, const std::string& than) {
    const MatchOptions& m = *study_.match;
    const std::string& name = study_.arms[a].name;
    matched_[a] = fmt::format("{} {}: {} {} than {}", m.key, shortest(n), human_percent(std::abs(off)),
                              off < 0 ? "less" : "more", than);
    if (std::abs(off) > m.tol)
      throw_at(m.mark,
               fmt::format("match: arm {} comes no nearer than {}, beyond match.tol {}; take a smaller match.step, or "
                           "another match.key{}",
                           name, matched_[a], shortest(m.tol),
                           m.what == "time" ? ", or a larger match.tol: times scatter" : ""));
    assign(trees_[a], {m.key, number(n, m.mark), m.mark});
    study_.arms[a].overrides.push_back({m.key, number(n, m.mark), m.mark});
  }

  Study& study_;
  const ConfigNode& base_;
  std::vector<ConfigNode>& trees_;
  TimedSizes* sizes_;
  std::vector<std::string> matched_;  // of each arm
};

}  // namespace

std::vector<std::string> match_arms(Study& study, const ConfigNode& base, std::vector<ConfigNode>& trees,
                                    TimedSizes* sizes) {
  return Matcher(study, base, trees, sizes).all();
}

}  // namespace effllm
