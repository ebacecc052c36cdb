#include "eval/ngram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace effllm {
namespace {

// Chen and Goodman's closed forms from n[j] = how many n-grams have count j, j = 1 to 4. Where those are too few for a
// discount in (0, j], a fixed one: any is normalised.
std::array<double, 3> discounts_from(const std::array<int64_t, 5>& n) {
  static constexpr std::array<double, 3> kFixed = {0.5, 1.0, 1.5};
  const double y = static_cast<double>(n[1]) / static_cast<double>(n[1] + 2 * n[2]);
  std::array<double, 3> d;
  for (size_t j = 1; j <= 3; ++j) {
    const auto k = static_cast<double>(j);
    const double v = k - (k + 1) * y * static_cast<double>(n[j + 1]) / static_cast<double>(n[j]);
    d[j - 1] = v > 0 && v <= k ? v : kFixed[j - 1];
  }
  return d;
}

size_t bucket(int64_t count) { return static_cast<size_t>(std::min<int64_t>(count, 3) - 1); }

}  // namespace

template <class T>
size_t NgramTable<T>::slot_of(uint64_t key) const {
  const size_t last = slots_.size() - 1;
  size_t i = mix_bits(key) & last;
  while (slots_[i].count != 0 && slots_[i].key != key) i = (i + 1) & last;
  return i;
}

template <class T>
void NgramTable<T>::grow() {
  std::vector<T> old(std::max<size_t>(16, slots_.size() * 2));
  old.swap(slots_);
  for (const T& t : old)
    if (t.count != 0) slots_[slot_of(t.key)] = t;
}

template <class T>
T& NgramTable<T>::at(uint64_t key) {
  if (used_ * 2 >= slots_.size()) grow();
  T& slot = slots_[slot_of(key)];
  if (slot.count == 0) {
    slot.key = key;
    ++used_;
  }
  return slot;
}

template <class T>
const T* NgramTable<T>::find(uint64_t key) const {
  if (slots_.empty()) return nullptr;
  const T& slot = slots_[slot_of(key)];
  return slot.count == 0 ? nullptr : &slot;
}

NgramModel::NgramModel(std::span<const int32_t> tokens, int64_t vocab_size, int order)
    : vocab_size_(vocab_size),
      order_(order),
      bits_(
          std::max(1, static_cast<int>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(1, vocab_size)) - 1)))) {
  if (vocab_size < 1) throw ConfigError("an n-gram model needs a vocabulary of at least 1 token, not {}", vocab_size);
  if (order < 1 || order > 64 / bits_)
    throw ConfigError("an n-gram model over {} can have an order from 1 to {}, not {}", counted(vocab_size, "token"),
                      64 / bits_, order);
  if (tokens.empty()) throw DataError("an n-gram model needs a text to count; this one is empty");
  for (int32_t id : tokens) check_id(id);
  levels_.resize(static_cast<size_t>(order));
  count_highest(tokens);
  for (int length = order - 1; length >= 1; --length) count_lower(length, tokens);
  for (Level& level : levels_) summarise(level);
}

void NgramModel::check_id(int32_t id) const {
  if (id < 0 || id >= vocab_size_) throw DataError("token id {} is outside the vocabulary of {}", id, vocab_size_);
}

uint64_t NgramModel::mask(int length) const {
  return length * bits_ >= 64 ? ~uint64_t{0} : (uint64_t{1} << length * bits_) - 1;
}

// The oldest token in the highest bits.
uint64_t NgramModel::pack(std::span<const int32_t> tokens) const {
  uint64_t key = 0;
  for (int32_t id : tokens) key = key << bits_ | static_cast<uint64_t>(id);
  return key;
}

void NgramModel::count_highest(std::span<const int32_t> tokens) {
  const auto n = static_cast<size_t>(order_);
  if (tokens.size() < n) return;
  NgramTable<Gram>& grams = levels_[n - 1].grams;
  uint64_t key = pack(tokens.first(n - 1));
  for (size_t i = n - 1; i < tokens.size(); ++i) {
    key = (key << bits_ | static_cast<uint64_t>(tokens[i])) & mask(order_);
    ++grams.at(key).count;
  }
}

// Each different n-gram one longer is one token seen before its end; the n-gram that begins the text has the start.
void NgramModel::count_lower(int length, std::span<const int32_t> tokens) {
  const auto n = static_cast<size_t>(length);
  NgramTable<Gram>& grams = levels_[n - 1].grams;
  for (const Gram& longer : levels_[n].grams.slots())
    if (longer.count != 0) ++grams.at(longer.key & mask(length)).count;
  if (tokens.size() >= n) ++grams.at(pack(tokens.first(n))).count;
}

void NgramModel::summarise(Level& level) const {
  std::array<int64_t, 5> count_of_counts = {};
  for (const Gram& gram : level.grams.slots()) {
    if (gram.count == 0) continue;
    if (gram.count <= 4) ++count_of_counts[static_cast<size_t>(gram.count)];
    History& history = level.histories.at(gram.key >> bits_);
    history.count += gram.count;
    ++history.with_count[bucket(gram.count)];
  }
  level.discounts = discounts_from(count_of_counts);
}

double NgramModel::log_prob(std::span<const int32_t> context, int32_t next) const {
  check_id(next);
  context = context.last(std::min(context.size(), static_cast<size_t>(order_ - 1)));
  double p = 1.0 / static_cast<double>(vocab_size_);
  uint64_t history_key = 0;
  for (size_t n = 0; n <= context.size(); ++n) {  // n tokens of context, the nearest first
    if (n > 0) {
      const int32_t id = context[context.size() - n];
      check_id(id);
      history_key |= static_cast<uint64_t>(id) << (static_cast<int>(n - 1) * bits_);
    }
    const Level& level = levels_[n];
    const History* history = level.histories.find(history_key);
    if (!history) break;  // a longer context was not seen either
    double discounted = 0, freed = 0;
    if (const Gram* gram = level.grams.find(history_key << bits_ | static_cast<uint64_t>(next)))
      discounted = static_cast<double>(gram->count) - level.discounts[bucket(gram->count)];
    for (size_t j = 0; j < 3; ++j) freed += level.discounts[j] * static_cast<double>(history->with_count[j]);
    p = (discounted + freed * p) / static_cast<double>(history->count);
  }
  return std::log(p);
}

NgramScore NgramModel::score(const TokenizedText& text, bool reset_documents) const {
  NgramScore score;
  const std::span<const int32_t> tokens(text.tokens);
  size_t begin = 0;  // of the document
  auto document = text.document_starts.begin();
  for (size_t i = 0; i < tokens.size(); ++i) {
    bool starts = i == 0;
    if (reset_documents)
      for (; document != text.document_starts.end() && *document <= static_cast<int64_t>(i); ++document) starts = true;
    if (starts) {
      begin = i;
      continue;
    }
    score.nats -= log_prob(tokens.subspan(begin, i - begin), tokens[i]);
    ++score.tokens;
  }
  return score;
}

}  // namespace effllm
