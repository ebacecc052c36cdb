// Word problems of groups: after each element, the product of all so far. An element is a permutation p of 1 .. n,
// written p(1) p(2) ..; a new one is applied after those before it: (q p)(i) = q(p(i)).
//
//   213 132 213        scored: 213 312 321
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

using Permuted = std::vector<int32_t>;

struct PermutationsOptions final : TaskOptions {
  std::string group = "s3", scored = "every";
  int64_t length = 32;
  void visit(OptionVisitor& v) override {
    v("group", group, "Chooses the group: all permutations of 3, the even ones of 5, or all of 5.", {"s3", "a5", "s5"});
    v("length", length, "Sets the elements of a sample.", between(1, kMostTokens));
    v("scored", scored, "Chooses which places are scored: the last one, or every one.", {"last", "every"});
    TaskOptions::visit(v);
  }
};

bool even(const Permuted& p) {
  int64_t inversions = 0;
  for (size_t i = 0; i < p.size(); ++i)
    for (size_t j = 0; j < i; ++j) inversions += p[j] > p[i];
  return inversions % 2 == 0;
}

class Permutations final : public Task {
 public:
  using Options = PermutationsOptions;
  Permutations(const Options& o, uint64_t) : o_(o) {
    Permuted p(o.group == "s3" ? 3 : 5);
    std::iota(p.begin(), p.end(), 0);
    do {
      if (o.group == "a5" && !even(p)) continue;
      id_of_[p] = static_cast<int32_t>(elements_.size());
      elements_.push_back(p);
    } while (std::ranges::next_permutation(p).found);
  }
  int64_t vocab() const override { return static_cast<int64_t>(elements_.size()); }
  std::string symbol(int32_t id) const override {
    std::string text;
    for (const int32_t i : elements_[static_cast<size_t>(id)]) text += static_cast<char>('1' + i);
    return text;
  }
  int64_t longest() const override { return o_.length; }
  Sample sample(Draws& draws) const override {
    Sample s = unscored(std::vector<int32_t>(static_cast<size_t>(o_.length)));
    int32_t product = 0;  // the identity comes first
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      s.tokens[i] = static_cast<int32_t>(draws.below(vocab()));
      product = after(s.tokens[i], product);
      if (o_.scored == "every" || i + 1 == s.tokens.size()) s.targets[i] = product;
    }
    return s;
  }

 private:
  int32_t after(int32_t q, int32_t p) const {
    Permuted both;
    for (const int32_t i : elements_[static_cast<size_t>(p)])
      both.push_back(elements_[static_cast<size_t>(q)][static_cast<size_t>(i)]);
    return id_of_.at(both);
  }

  Options o_;
  std::vector<Permuted> elements_;  // in lexicographic order
  std::map<Permuted, int32_t> id_of_;
};

}  // namespace

extern constinit const TaskInfo permutations = TaskInfo::of<Permutations>({
    .name = "permutations",
    .title = "the product of all permutations so far",
    .paper = "Merrill et al. 2024, arXiv:2404.08819; Siems et al. 2025, arXiv:2502.10297",
    .source = "none: written from the papers",
    .deviations = "all samples have one length; elements are drawn alike, the identity among them",
});

}  // namespace effllm::tasks
