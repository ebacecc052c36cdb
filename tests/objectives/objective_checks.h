// What tests of objectives share: golden files of what is hidden, models of few tokens, gradients, and learning.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "store/safetensors.h"
#include "support/models.h"
#include "support/named.h"

namespace effllm::test {

using Ids = std::vector<int32_t>;

// Two layers of attention that mixes, of width 8.
inline constexpr std::string_view kMixing =
    "{d_model: 8, init: {std: 0.7}, tie_embeddings: false, block: {ffn: {type: swiglu}}, layers: [{mixer: {type: "
    "attention, heads: 2}}, {mixer: {type: attention, heads: 2}}]}";

// `yaml`: "{type: masked_lm, rate: 0.5}".
std::unique_ptr<Objective> read_objective(const std::string& yaml);
Tensor ids_of(const Ids& ids, int64_t rows);
// -log p(id) by each row of logits.
std::vector<double> nats_by(const Tensor& logits, const Tensor& ids);
double mean(const std::vector<double>& x);
// Of a text number `number` of those of so many tokens.
Ids text_of(int64_t number, int64_t length, int64_t vocab);

// All that is to be known of a text of L tokens: -log p of each token, given those that a set of bits shows.
class Conditionals {
 public:
  Conditionals(const LanguageModel& model, const Ids& text) : length_(text.size()) {
    const auto mask = static_cast<int32_t>(model.vocab());
    Ids seen, all;
    for (size_t shown = 0; shown < size_t{1} << length_; ++shown)
      for (size_t i = 0; i < length_; ++i) {
        seen.push_back(shown >> i & 1 ? text[i] : mask);
        all.push_back(text[i]);
      }
    const int64_t rows = int64_t{1} << length_;
    nats_ = nats_by(model.logits(ids_of(seen, rows), {}), ids_of(all, rows));
  }
  double operator()(size_t shown, size_t i) const { return nats_[shown * length_ + i]; }
  // -log p of the text in each of its L! orders.
  std::vector<double> orders() const {
    std::vector<size_t> order(length_);
    std::iota(order.begin(), order.end(), size_t{0});
    std::vector<double> all;
    do {
      size_t shown = 0;
      double sum = 0;
      for (const size_t i : order) {
        sum += (*this)(shown, i);
        shown |= size_t{1} << i;
      }
      all.push_back(sum);
    } while (std::ranges::next_permutation(order).found);
    return all;
  }
  // The mean of L / l sum -log p over l in 1 .. L and the sets of l masked tokens.
  double bound() const {
    std::vector<double> sums(length_ + 1), sets(length_ + 1);
    for (size_t shown = 0; shown + 1 < size_t{1} << length_; ++shown) {
      const size_t masked = length_ - static_cast<size_t>(std::popcount(shown));
      ++sets[masked];
      for (size_t i = 0; i < length_; ++i)
        if (!(shown >> i & 1)) sums[masked] += (*this)(shown, i);
    }
    double all = 0;
    for (size_t l = 1; l <= length_; ++l) all += sums[l] / sets[l] / static_cast<double>(l);
    return all;
  }

 private:
  size_t length_;
  std::vector<double> nats_;
};

// Of the mixture of all orders.
inline double likelihood(const Conditionals& text) {
  std::vector<double> p;
  for (const double n : text.orders()) p.push_back(std::exp(-n));
  return mean(p);
}

template <class T>
std::vector<T> stored(const SafetensorsFile& file, const char* name) {
  const StoredTensor* t = file.find(name);
  REQUIRE(t);
  const auto* from = reinterpret_cast<const T*>(t->data);
  return {from, from + t->bytes / sizeof(T)};
}
inline int64_t number_in(const SafetensorsFile& file, const char* key) { return std::stoll(file.metadata().at(key)); }
// f of each tests/golden/NAME.*.safetensors; how many there were.
int golden_files(const std::string& name, const std::function<void(const SafetensorsFile&)>& f);
// What the files say of the numbers of a training step: seed, step, sample; the rows' place in their batch.
Context context_in(const SafetensorsFile& file);
BatchRows rows_in(const SafetensorsFile& file, const Tensor& ids);
// The file's masks and weights, of training and of evaluation, are those of the objective: `nats` is of each token,
// what it costs where the model is given `seen`, both [B, T].
void check_hidden(const Objective& o, const LanguageModel& model, const SafetensorsFile& file,
                  const std::function<std::vector<double>(const Tensor& seen, const Tensor& ids)>& nats);

// Of all parameters (every third number, of embedding.extra all) by central differences; returns the sum of the slopes
// of embedding.extra.
double check_gradient(const LanguageModel& model, const std::function<Tensor()>& loss);
// Parts of a batch have the noise of the whole, and other steps, seeds and samples another. `documents`: ends within.
void check_noise(const Objective& o, const LanguageModel& model, int64_t vocab);
// On one batch with one noise, in f32.
void check_learns(const Objective& o, std::string_view yaml = kMixing);

}  // namespace effllm::test
