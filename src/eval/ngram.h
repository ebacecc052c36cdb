// An n-gram language model: the rival that every trained model should beat.
// Interpolated modified Kneser-Ney (Chen and Goodman 1999, section 3), over token ids.
//   p(w | h) = (c(h w) - D(c(h w))) / c(h) + b(h) p(w | h'),   b(h) = sum_w D(c(h w)) / c(h),   h' = h less its oldest
// c counts occurrences at the highest order; below it counts the different tokens seen before the n-gram (the start of
// the text is one of them). D is D_1, D_2 or D_3+ of each order. The recursion ends in the uniform 1 / V, so that every
// token of the vocabulary has a probability and they sum to one.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/corpus.h"

namespace effllm {

struct NgramScore {
  double nats = 0;     // -sum of log p
  int64_t tokens = 0;  // how many were predicted
};

// Every bit of x reaches every bit of the result: the finaliser of splitmix64.
constexpr uint64_t mix_bits(uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ x >> 27) * 0x94D049BB133111EBull;
  return x ^ x >> 31;
}

// A hash table from packed n-grams to T, open addressing with linear probing. T has a member `count`, 0 where empty.
template <class T>
class NgramTable {
 public:
  T& at(uint64_t key);                // inserts an empty T where missing; set its count before the next call
  const T* find(uint64_t key) const;  // null where missing
  const std::vector<T>& slots() const { return slots_; }

 private:
  size_t slot_of(uint64_t key) const;
  void grow();
  std::vector<T> slots_;
  size_t used_ = 0;
};

class NgramModel {
 public:
  // Counts `tokens`, ids in [0, vocab_size). A packed n-gram must fit 64 bits: `order` is at most 8 for a vocabulary of
  // 256. ConfigError for another order, DataError for no tokens or an id outside the vocabulary.
  NgramModel(std::span<const int32_t> tokens, int64_t vocab_size, int order);

  // Natural logarithm of p(next | context); of a longer context the last order - 1 tokens count. DataError for an id
  // outside the vocabulary.
  double log_prob(std::span<const int32_t> context, int32_t next) const;

  // Predicts each token from those before it. The first token is context only: a trained model has no target there
  // either. With `reset_documents` the same holds for each document, and no context reaches over its start.
  NgramScore score(const TokenizedText& text, bool reset_documents) const;

  int order() const { return order_; }

  // Bytes that such a model takes at most while it is made, known after one pass over the text; a table's size is a
  // power of two, so that it may be up to twice as much.
  static double bytes_needed(std::span<const int32_t> tokens, int order);

 private:
  struct Gram {
    uint64_t key = 0;
    int64_t count = 0;
  };
  struct History {  // what follows a context
    uint64_t key = 0;
    int64_t count = 0;                       // sum of the counts of its n-grams
    std::array<int64_t, 3> with_count = {};  // how many of them have count 1, 2, 3 and more
  };
  struct Level {  // n-grams of one length
    NgramTable<Gram> grams;
    NgramTable<History> histories;
    std::array<double, 3> discounts = {};  // D_1, D_2, D_3+
  };

  void count_highest(std::span<const int32_t> tokens);
  void count_lower(int length, std::span<const int32_t> tokens);
  void summarise(Level& level) const;
  uint64_t pack(std::span<const int32_t> tokens) const;
  uint64_t mask(int length) const;  // the bits of `length` tokens
  void check_id(int32_t id) const;

  int64_t vocab_size_;
  int order_, bits_;           // bits of one token
  std::vector<Level> levels_;  // [order]: n-grams of 1, 2 ... tokens
};

}  // namespace effllm
