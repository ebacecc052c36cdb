// Tokens that are hidden from a model, which predicts them: in training, and in what a text is scored by.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "objectives/objective.h"

namespace effllm {

enum class Hide { no, counts, only };  // seen; hidden, with a loss; hidden, without

// The rows with the id `mask` in the place of the tokens that hide(row, token) says, and targets at those that count.
// Only tokens whose targets count are asked about.
BatchRows hidden(const BatchRows& rows, int64_t mask, const std::function<Hide(int64_t row, int64_t token)>& hide);

// Places of the tokens of each row whose targets count; nothing of rows that are shapes alone.
std::vector<std::vector<int64_t>> counted_places(const BatchRows& rows);

// Puts `count` of the places first that are drawn without replacement, number i of the stream for the i-th.
void draw_first(std::vector<int64_t>& places, int64_t count, const RandomStream& numbers);

// Of each row the sum over its tokens of a weight, f64 [B, T], times -log p(target), where a model is given the rows.
using WeightedNats = std::function<std::vector<double>(const BatchRows& seen, const Tensor& weights)>;
// For a model that sees the rows as they are, and, for others, from what its blocks gave, [B, T, D].
WeightedNats nats_of(const LanguageModel& model);
std::vector<double> nats_of(const LanguageModel& model, const Tensor& x, const Tensor& targets, const Tensor& weights);

// What is estimated by hiding tokens of rows, those of a row together, or those of each of its blocks.
class HiddenScore {
 public:
  // The purposes of random numbers begin with `name`. block 0: a row is one.
  HiddenScore(std::string_view name, const BatchRows& rows, int64_t mask, WeightedNats nats, int64_t block = 0);
  // As Scoring says: the bound, one order, or each token alone.
  std::vector<RowScore> operator()(const Scoring& how) const;

 private:
  struct Group {
    int64_t row, block;           // here
    std::vector<int64_t> places;  // of the tokens that count
  };
  // Each draw hides exactly l of a group's L tokens, l uniform in 1 .. L: the mean of L / l sum -log p is that of -log
  // p over all orders of the tokens (Ou et al. 2024, arXiv:2406.03736).
  std::vector<RowScore> all_orders(const Scoring& how) const;
  // Each token after those before it in its group, with all others hidden: the likelihood of that order.
  std::vector<RowScore> one_order() const;
  // Each token with all others seen, those of later blocks left out: the pseudo-likelihood of Salazar et al. 2020,
  // arXiv:1910.14659.
  std::vector<RowScore> each_alone() const;

  // Of each row the weighted nats of group g's tokens, where hide(g, i) says of the i-th of its tokens what is done.
  std::vector<double> nats(const std::function<Hide(size_t g, size_t i)>& hide,
                           const std::vector<double>& weight) const;
  size_t longest() const;
  int64_t how_many(const Group& g, int64_t number, int64_t draw, const Scoring& how) const;

  const std::string name_;
  const BatchRows& rows_;
  const int64_t mask_, blocks_;  // blocks of a row
  const WeightedNats nats_;
  std::vector<Group> groups_;
};

}  // namespace effllm
