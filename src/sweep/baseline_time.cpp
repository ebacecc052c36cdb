#include "sweep/baseline_time.h"

#include <algorithm>

#include "base/clock.h"
#include "eval/baselines.h"
#include "eval/ngram.h"
#include "train/preflight.h"

namespace effllm {
namespace {

constexpr size_t kPiece = size_t{512} << 10;  // bytes
constexpr int kMostThreads = 4;

double seconds_of(const std::function<void()>& work) {
  const double start = seconds_now();
  try {
    work();
  } catch (const Error&) {  // not installed, or no room: it is left out then as well
    return 0;
  }
  return seconds_now() - start;
}

}  // namespace

double baseline_seconds(const Plan& plan, int threads) {
  const RunConfig& config = plan.runs.front().config;
  if (!plan.study.eval.baselines || config.data.task || config.model.encoder) return 0;
  const Corpus corpus = corpus_of(config);
  const auto tokenizer = corpus.tokenizer(config.data.tokenizer);
  const Split split = parse_split(plan.study.eval.split);
  const std::string_view train = corpus.text(Split::train), piece = train.substr(0, kPiece);
  const auto before = [&](Split s) { return static_cast<double>(corpus.text(s).size()); };
  const TokenizedText tokens = corpus.tokenize(*tokenizer, Split::train);
  const double bytes = static_cast<double>(plan.runs.front().scored_tokens) * static_cast<double>(train.size()) /
                       static_cast<double>(tokens.tokens.size());
  // Each reads the text alone, and after what comes before it, that once more by itself.
  double read = bytes;
  const double most = static_cast<double>(BaselineOptions().most_before);
  if (split != Split::train) read += bytes + 2 * std::min(most, before(Split::train));
  if (split == Split::test && before(Split::val) > 0)
    read += bytes + 2 * std::min(most, before(Split::train) + before(Split::val));
  std::vector<double> jobs;
  for (const Compressor& c : compressors()) {
    const double all = seconds_of([&] { c.bytes(piece); }) * read / static_cast<double>(piece.size());
    jobs.push_back(all);
  }
  const auto few = std::min(tokens.tokens.size(), kPiece);
  const std::span<const int32_t> first(tokens.tokens.data(), few);
  for (const int order : {2, 5})
    jobs.push_back(seconds_of([&] { NgramModel(first, tokenizer->vocab_size(), order); }) *
                   (static_cast<double>(tokens.tokens.size()) + static_cast<double>(plan.runs.front().scored_tokens)) /
                   static_cast<double>(few));
  double sum = 0;
  for (const double s : jobs) sum += s;
  return sum / std::clamp(threads, 1, kMostThreads);
}

}  // namespace effllm
