// Walks through a small world of states, seen as Decision Transformers see them: steps left, reward still to come,
// state, and the action that was taken, which is to be told.
//
//   t3 g1 s4 a0  t2 g1 s7 a2  t1 g0 s4 a1        scored: a0 at s4, a2 at s7, a1 at the second s4
//
// The world is drawn from the seed: where each action leads from each state, and whether it gives a reward of 1. Walks
// begin anywhere and take every action as often. Of a state s with t steps left and a reward of g still to come,
//
//   p(a) = W(next(s, a), t - 1, g - reward(s, a)) / sum over actions of the same,
//
// W the number of ways to come by such a reward: nothing that was before the three tokens at hand tells any more.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct MdpOptions final : TaskOptions {
  int64_t states = 8, actions = 4, steps = 16;
  double rewards = 0.3;
  void visit(OptionVisitor& v) override {
    v("states", states, "Sets how many states the world has.", between(1, 1 << 10));
    v("actions", actions, "Sets how many actions each has.", between(1, 1 << 10));
    v("steps", steps, "Sets the steps of a walk, of four tokens each; the last action is left out.",
      between(1, 1 << 10));
    v("rewards", rewards, "Sets how likely an action of a state gives a reward.", between(0, 1));
    TaskOptions::visit(v);
  }
};

class Mdp final : public Task {
 public:
  using Options = MdpOptions;
  Mdp(const Options& o, uint64_t seed) : o_(o) {
    Draws draws(seed, "task.mdp.world");
    for (int64_t i = 0; i < o.states * o.actions; ++i) {
      next_.push_back(draws.below(o.states));
      reward_.push_back(draws.chance(o.rewards));
    }
    count_ways();
  }
  int64_t vocab() const override { return actions_from() + o_.actions; }
  std::string symbol(int32_t id) const override {
    return id < o_.steps         ? fmt::format("t{}", id + 1)
           : id < states_from()  ? fmt::format("g{}", id - o_.steps)
           : id < actions_from() ? fmt::format("s{}", id - states_from())
                                 : fmt::format("a{}", id - actions_from());
  }
  int64_t longest() const override { return 4 * o_.steps - 1; }

  Sample sample(Draws& draws) const override {
    std::vector<int64_t> states = {draws.below(o_.states)}, actions;
    int64_t to_come = 0;
    for (int64_t t = 0; t < o_.steps; ++t) {
      actions.push_back(draws.below(o_.actions));
      const size_t taken = at(states.back(), actions.back());
      to_come += reward_[taken];
      states.push_back(next_[taken]);
    }
    Sample s;
    for (int64_t t = 0; t < o_.steps; ++t) {
      const auto i = static_cast<size_t>(t);
      for (const int64_t id :
           {o_.steps - t - 1, o_.steps + to_come, states_from() + states[i], actions_from() + actions[i]})
        s.tokens.push_back(static_cast<int32_t>(id));
      s.targets.resize(s.tokens.size(), kIgnoredTarget);
      s.targets[s.tokens.size() - 2] = s.tokens.back();
      to_come -= reward_[at(states[i], actions[i])];
    }
    s.tokens.pop_back();
    s.targets.pop_back();
    return s;
  }

  std::optional<Known> known(const Sample& s) const override {
    Known best;
    for (size_t i = 2; i < s.tokens.size(); i += 4) {
      const int64_t left = s.tokens[i - 2] + 1, to_come = s.tokens[i - 1] - o_.steps,
                    state = s.tokens[i] - states_from();
      double all = 0, most = 0;
      int64_t likeliest = 0;
      for (int64_t a = 0; a < o_.actions; ++a) {
        const double w = after(state, a, left, to_come);
        all += w;
        if (w > most) most = w, likeliest = a;
      }
      const int64_t taken = s.targets[i] - actions_from();
      best.nats -= std::log(after(state, taken, left, to_come) / all);
      best.right += likeliest == taken;
    }
    return best;
  }

 private:
  int64_t states_from() const { return 2 * o_.steps + 1; }
  int64_t actions_from() const { return states_from() + o_.states; }
  size_t at(int64_t state, int64_t action) const { return static_cast<size_t>(state * o_.actions + action); }

  // ways_[t][s (steps + 1) + g]: the share of walks of t steps from s that give g.
  void count_ways() {
    const size_t row = static_cast<size_t>(o_.steps + 1);
    ways_.assign(row, std::vector<double>(static_cast<size_t>(o_.states) * row));
    for (int64_t s = 0; s < o_.states; ++s) ways_[0][static_cast<size_t>(s) * row] = 1;
    for (int64_t t = 1; t <= o_.steps; ++t)
      for (int64_t s = 0; s < o_.states; ++s)
        for (int64_t g = 0; g <= t; ++g)
          for (int64_t a = 0; a < o_.actions; ++a)
            ways_[static_cast<size_t>(t)][static_cast<size_t>(s) * row + static_cast<size_t>(g)] +=
                after(s, a, t, g) / static_cast<double>(o_.actions);
  }
  // The share of walks that give `to_come` in `left` steps from a state, of those that take this action first.
  double after(int64_t state, int64_t action, int64_t left, int64_t to_come) const {
    const size_t taken = at(state, action);
    const int64_t g = to_come - reward_[taken];
    if (g < 0) return 0;
    return ways_[static_cast<size_t>(left - 1)][static_cast<size_t>(next_[taken] * (o_.steps + 1) + g)];
  }

  Options o_;
  std::vector<int64_t> next_, reward_;  // of each state and action
  std::vector<std::vector<double>> ways_;
};

}  // namespace

extern constinit const TaskInfo mdp = TaskInfo::of<Mdp>({
    .name = "mdp",
    .title = "actions of random walks, given the reward to come: the past tells nothing",
    .paper = "Chen et al. 2021, arXiv:2106.01345 (the form of its sequences)",
    .source = "none: made for this program",
    .deviations =
        "a world of its own, in place of games; a token for the steps left, without which a place in the walk "
        "would tell something",
    .length = "",
    .continues = true,
});

}  // namespace effllm::tasks
