#include <cmath>

#include "tasks/made.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kStates = 3, kActions = 2, kSteps = 5;

struct Step {
  int64_t left, to_come, state, action;
};

// Of tokens, which end before the last action.
std::vector<Step> steps_of(const Sample& s) {
  std::vector<Step> all;
  for (size_t i = 0; i + 2 < s.tokens.size(); i += 4)
    all.push_back({s.tokens[i] + 1, s.tokens[i + 1] - kSteps, s.tokens[i + 2] - (2 * kSteps + 1),
                   s.targets[i + 2] - (2 * kSteps + 1 + kStates)});
  return all;
}

// The world as walks show it.
struct World {
  std::map<std::pair<int64_t, int64_t>, std::pair<int64_t, int64_t>> moves;  // state, action: next, reward

  explicit World(const TaskData& task) {
    for (int64_t i = 0; i < 400; ++i) {
      const std::vector<Step> walk = steps_of(task.sample(Split::train, i));
      for (size_t t = 0; t + 1 < walk.size(); ++t) {
        const std::pair seen{walk[t + 1].state, walk[t].to_come - walk[t + 1].to_come};
        CHECK(moves.emplace(std::pair{walk[t].state, walk[t].action}, seen).first->second == seen);
      }
    }
    REQUIRE(moves.size() == kStates * kActions);
  }
  // The rewards of a walk from a state by these actions, a bit each.
  int64_t reward(int64_t state, int64_t actions, int64_t count, int64_t from = 0) const {
    int64_t sum = 0;
    for (int64_t t = 0; t < count; ++t) {
      const auto& [next, r] = moves.at({state, actions >> t & 1});
      if (t >= from) sum += r;
      state = next;
    }
    return sum;
  }
};

}  // namespace

TEST_CASE("mdp: walks go by one world, count their steps down, and tell the reward that is still to come") {
  const TaskData task = made("{type: mdp, states: 3, actions: 2, steps: 5, rewards: 0.5}");
  const World world(task);
  std::map<int64_t, int64_t> starts, taken;
  for (int64_t i = 0; i < 2000; ++i) {
    const Sample s = task.sample(static_cast<Split>(i % 3), i);
    CHECK(s.tokens.size() == 4 * kSteps - 1);
    const std::vector<Step> walk = steps_of(s);
    int64_t actions = 0;
    for (size_t t = 0; t < walk.size(); ++t) actions |= walk[t].action << t;
    for (size_t t = 0; t < walk.size(); ++t) {
      CHECK(walk[t].left == kSteps - static_cast<int64_t>(t));
      CHECK(walk[t].to_come == world.reward(walk[0].state, actions, kSteps, static_cast<int64_t>(t)));
      ++taken[walk[t].action];
    }
    ++starts[walk[0].state];
  }
  check_even(starts, kStates);
  check_even(taken, kActions);
}

// Every walk of five steps is as likely: of those that agree with all that stands before an action, counting tells how
// likely each action is.
TEST_CASE("mdp: who knows all of the past knows no more than who knows the three tokens at hand") {
  const TaskData task = made("{type: mdp, states: 3, actions: 2, steps: 5, rewards: 0.5}");
  const World world(task);
  bool uncertain = false;
  for (int64_t i = 0; i < 40; ++i) {
    const Sample s = task.sample(Split::val, i);
    const std::vector<Step> walk = steps_of(s);
    int64_t done = 0, right = 0;
    double nats = 0;
    for (size_t t = 0; t < walk.size(); ++t) {
      double ways[2] = {};
      for (int64_t actions = 0; actions < 1 << kSteps; ++actions) {
        if ((actions & ((1 << t) - 1)) != done) continue;
        bool agrees = true;
        for (size_t u = 0; u <= t; ++u)
          agrees = agrees && world.reward(walk[0].state, actions, kSteps, static_cast<int64_t>(u)) == walk[u].to_come;
        if (agrees) ++ways[actions >> t & 1];
      }
      nats -= std::log(ways[walk[t].action] / (ways[0] + ways[1]));
      right += walk[t].action == (ways[1] > ways[0] ? 1 : 0);
      uncertain = uncertain || (ways[0] > 0 && ways[1] > 0);
      done |= walk[t].action << t;
    }
    const auto known = task.task().known(s);
    REQUIRE(known);
    CHECK(known->nats == doctest::Approx(nats).epsilon(1e-9));
    CHECK(known->right == right);
  }
  CHECK(uncertain);
}

TEST_CASE("mdp: tasks whose answers are certain say nothing of who knows the rule") {
  const TaskData task = made("{type: parity}");
  CHECK_FALSE(task.task().known(task.sample(Split::val, 0)));
}
