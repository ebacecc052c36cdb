#include "eval/ngram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "support/close.h"

using namespace effllm;

namespace {

using Tokens = std::vector<int32_t>;

// A text with structure, so that every order learns something: mostly a cycle, with noise.
Tokens noisy_text(int64_t n, int32_t vocab, uint64_t seed) {
  const RandomStream random(seed, "test.ngram");
  Tokens text;
  for (int64_t i = 0; i < n; ++i) {
    const auto r = static_cast<uint64_t>(i);
    const bool noise = i == 0 || random.uniform(2 * r) < 0.3;
    const auto drawn = static_cast<int32_t>(random.below(2 * r + 1, static_cast<uint64_t>(vocab)));
    text.push_back(noise ? drawn : (text.back() * 3 + 1) % vocab);
  }
  return text;
}

// The same model by definition, from ordered maps of whole n-grams.
class SlowNgram {
 public:
  SlowNgram(const Tokens& text, int64_t vocab, int order) : vocab_(vocab), counts_(static_cast<size_t>(order) + 1) {
    for (size_t n = 1; n < counts_.size(); ++n) {
      std::map<Tokens, std::set<int32_t>> before;
      std::map<Tokens, int64_t> occurrences;
      for (size_t i = 0; i + n <= text.size(); ++i) {
        const Tokens gram(text.begin() + static_cast<int64_t>(i), text.begin() + static_cast<int64_t>(i + n));
        ++occurrences[gram];
        before[gram].insert(i == 0 ? -1 : text[i - 1]);
      }
      for (const auto& [gram, count] : occurrences)
        counts_[n][gram] = n + 1 == counts_.size() ? count : static_cast<int64_t>(before[gram].size());
    }
  }
  double prob(Tokens context, int32_t next) const {
    const size_t longest = counts_.size() - 2;
    if (context.size() > longest) context.erase(context.begin(), context.end() - static_cast<int64_t>(longest));
    const auto& counts = counts_[context.size() + 1];
    double sum = 0, freed = 0, own = 0;
    for (const auto& [gram, count] : counts)
      if (std::equal(context.begin(), context.end(), gram.begin())) {
        sum += static_cast<double>(count);
        freed += discount(counts, count);
        if (gram.back() == next) own = static_cast<double>(count) - discount(counts, count);
      }
    const double lower =
        context.empty() ? 1.0 / static_cast<double>(vocab_) : prob(Tokens(context.begin() + 1, context.end()), next);
    return sum == 0 ? lower : (own + freed * lower) / sum;
  }

 private:
  static double discount(const std::map<Tokens, int64_t>& counts, int64_t count) {
    double n[5] = {};
    for (const auto& [gram, c] : counts)
      if (c <= 4) n[c] += 1;
    const double y = n[1] / (n[1] + 2 * n[2]);
    const int j = static_cast<int>(std::min<int64_t>(count, 3));
    const double d = j - (j + 1) * y * n[j + 1] / n[j];
    return d > 0 && d <= j ? d : 0.5 * j;
  }
  int64_t vocab_;
  std::vector<std::map<Tokens, int64_t>> counts_;
};

double sum_over_vocabulary(const NgramModel& model, const Tokens& context, int64_t vocab) {
  double sum = 0;
  for (int32_t w = 0; w < vocab; ++w) sum += std::exp(model.log_prob(context, w));
  return sum;
}

}  // namespace

TEST_CASE("ngram: probabilities are those of the definition") {
  const Tokens text = noisy_text(300, 7, 1), probe = noisy_text(60, 7, 2);
  for (const int order : {1, 2, 3, 5}) {
    CAPTURE(order);
    const NgramModel model(text, 7, order);
    const SlowNgram slow(text, 7, order);
    for (size_t i = 0; i < probe.size(); ++i) {
      const Tokens context(probe.begin() + static_cast<int64_t>(i < 6 ? 0 : i - 6),
                           probe.begin() + static_cast<int64_t>(i));
      CHECK(std::exp(model.log_prob(context, probe[i])) ==
            doctest::Approx(slow.prob(context, probe[i])).epsilon(1e-12));
    }
  }
}

TEST_CASE("ngram: probabilities sum to one in seen, unseen, short and long contexts") {
  // 11 of 16 symbols occur; the vocabulary is no power of two either time.
  for (const int64_t vocab : {11, 16, 21}) {
    const Tokens text = noisy_text(2000, 11, 3), probe = noisy_text(200, static_cast<int32_t>(vocab), 4);
    for (const int order : {1, 2, 5, 8}) {
      CAPTURE(vocab);
      CAPTURE(order);
      const NgramModel model(text, vocab, order);
      for (size_t i = 0; i < probe.size(); i += 3)
        for (const size_t length : {0, 1, 2, 4, 7, 12}) {
          if (length > i) continue;
          const Tokens context(probe.begin() + static_cast<int64_t>(i - length),
                               probe.begin() + static_cast<int64_t>(i));
          CHECK(sum_over_vocabulary(model, context, vocab) == doctest::Approx(1).epsilon(1e-12));
        }
    }
  }
}

TEST_CASE("ngram: degenerate texts are normalised too, and unseen tokens have probability") {
  const std::vector<Tokens> texts = {{0}, {0, 0}, {0, 1}, {3, 3, 3, 3, 3, 3}, {0, 1, 2, 3}, Tokens(500, 2)};
  for (const Tokens& text : texts)
    for (const int order : {1, 2, 5}) {
      CAPTURE(text.size());
      CAPTURE(order);
      const NgramModel model(text, 5, order);
      for (const Tokens& context : {Tokens{}, Tokens{0}, Tokens{0, 0}, Tokens{4, 4, 4, 4, 4}, Tokens{2, 2, 2, 2}}) {
        CHECK(sum_over_vocabulary(model, context, 5) == doctest::Approx(1).epsilon(1e-12));
        CHECK(std::isfinite(model.log_prob(context, 4)));
      }
    }
}

TEST_CASE("ngram: keys that fill all 64 bits stay apart") {
  Tokens text;
  const RandomStream random(5, "test.ngram");
  for (uint64_t i = 0; i < 3000; ++i) text.push_back(static_cast<int32_t>(255 - random.below(i, 4)));
  const NgramModel model(text, 256, 8);
  const Tokens context(text.begin(), text.begin() + 7);
  CHECK(sum_over_vocabulary(model, context, 256) == doctest::Approx(1).epsilon(1e-12));
  CHECK(model.log_prob(context, text[7]) > model.log_prob(context, 0));
}

TEST_CASE("ngram: a higher order predicts a text of that order better") {
  TokenizedText train, val;
  train.tokens = noisy_text(20000, 13, 6);
  val.tokens = noisy_text(2000, 13, 7);
  train.document_starts = val.document_starts = {0};
  const double unigram = NgramModel(train.tokens, 13, 1).score(val, false).nats;
  const double bigram = NgramModel(train.tokens, 13, 2).score(val, false).nats;
  CHECK(bigram < 0.8 * unigram);
  // The source: 0.7 + 0.3 / 13 for the expected token, 0.3 / 13 for each other.
  const double q = 0.3 / 13, entropy = -(0.7 + q) * std::log(0.7 + q) - 12 * q * std::log(q);
  CHECK(test::close(bigram / 1999, entropy, 0.05));
}

TEST_CASE("ngram: a score adds the log probabilities of all tokens but the first") {
  TokenizedText val;
  val.tokens = noisy_text(50, 7, 8);
  val.document_starts = {0, 10, 11, 40};
  const NgramModel model(noisy_text(500, 7, 9), 7, 3);
  double all = 0, reset = 0;
  int64_t counted = 0;
  const std::span<const int32_t> tokens(val.tokens);
  for (size_t i = 1; i < tokens.size(); ++i) {
    all -= model.log_prob(tokens.first(i), tokens[i]);
    const size_t begin = i < 10 ? 0 : i < 11 ? 10 : i < 40 ? 11 : 40;
    if (i == begin) continue;
    reset -= model.log_prob(tokens.subspan(begin, i - begin), tokens[i]);
    ++counted;
  }
  CHECK(model.score(val, false).nats == doctest::Approx(all).epsilon(1e-12));
  CHECK(model.score(val, false).tokens == 49);
  CHECK(model.score(val, true).nats == doctest::Approx(reset).epsilon(1e-12));
  CHECK(model.score(val, true).tokens == counted);
  CHECK(counted == 46);
  CHECK(model.score(val, true).nats != doctest::Approx(all));
}

TEST_CASE("ngram: orders that don't fit, empty texts and foreign tokens are refused") {
  const Tokens text = {0, 1, 2};
  CHECK_THROWS_AS(NgramModel(text, 256, 9), ConfigError);
  CHECK_THROWS_AS(NgramModel(text, 256, 0), ConfigError);
  CHECK_THROWS_AS(NgramModel(text, 0, 1), ConfigError);
  CHECK_THROWS_AS(NgramModel(text, 257, 8), ConfigError);
  CHECK_NOTHROW(NgramModel(text, 257, 7));
  CHECK_THROWS_AS(NgramModel(Tokens{}, 256, 2), DataError);
  CHECK_THROWS_AS(NgramModel(text, 2, 2), DataError);
  CHECK_THROWS_AS(NgramModel(Tokens{-1}, 2, 2), DataError);
  const NgramModel model(text, 3, 2);
  CHECK_THROWS_AS(model.log_prob(Tokens{0}, 3), DataError);
  CHECK_THROWS_AS(model.log_prob(Tokens{-1}, 0), DataError);
}

TEST_CASE("ngram: the memory that a model takes is foreseen, from how many different n-grams there are") {
  for (const int32_t vocab : {2, 20, 250})
    for (const int64_t n : {1, 100, 30000}) {
      CAPTURE(vocab);
      CAPTURE(n);
      const Tokens text = noisy_text(n, vocab, 5);
      // At most half full tables of powers of two: 16 bytes an n-gram, 40 a context.
      double least = 0, contexts = 1;
      for (size_t length = 1; length <= 4; ++length) {
        std::set<Tokens> grams;
        for (size_t i = 0; i + length <= text.size(); ++i)
          grams.emplace(text.begin() + static_cast<int64_t>(i), text.begin() + static_cast<int64_t>(i + length));
        const auto size = [](double keys) { return std::exp2(std::ceil(std::log2(std::max(16.0, 2 * keys - 1)))); };
        least += 16 * size(static_cast<double>(grams.size())) + 40 * size(contexts);
        contexts = static_cast<double>(grams.size());
      }
      const double foreseen = NgramModel::bytes_needed(text, 4);
      CHECK(foreseen >= least);
      CHECK(foreseen <= 2.1 * least + 4096);
    }
}
