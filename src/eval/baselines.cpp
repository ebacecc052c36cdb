#include "eval/baselines.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <numbers>

#include "base/error.h"
#include "base/text.h"
#include "eval/ngram.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr size_t kThreads = 4;  // xz -9 takes 674 MiB for a long text, PPMd 256 MiB

struct Before {
  std::string name;
  std::string_view text;
  bool cut = false;
};

struct Job {
  Baseline row;  // all but its bits
  std::function<double()> bits_per_byte;
};

// Val lies between train and test, so that both together are one piece of the corpus.
std::vector<Before> texts_before(const ScoredText& s, int64_t most) {
  std::vector<Before> all = {{"nothing", ""}};
  if (!s.corpus || s.split == Split::train) return all;
  const std::string_view train = s.corpus->text(Split::train), val = s.corpus->text(Split::val);
  all.push_back({"train", train});
  if (s.split != Split::val && !val.empty())
    all.push_back({"train + val", s.corpus->text().substr(0, train.size() + val.size())});
  for (Before& b : all) {
    if (static_cast<int64_t>(b.text.size()) <= most) continue;
    b.text.remove_prefix(b.text.size() - static_cast<size_t>(most));
    b.cut = true;
  }
  return all;
}

double ngram_bits(const ScoredText& s, const TokenizedText& part, int order, double memory) {
  const TokenizedText train = s.corpus->tokenize(s.tokenizer, Split::train);
  if (const double need = NgramModel::bytes_needed(train.tokens, order), used = resident_bytes(); used + need > memory)
    throw MemoryError("it would need about {}, and {} of {} are in use", human_bytes(need), human_bytes(used),
                      human_bytes(memory));
  const NgramScore score =
      NgramModel(train.tokens, s.tokenizer.vocab_size(), order).score(part, s.options.reset_documents);
  if (score.tokens == 0) throw DataError("no token of the text has one before it");
  // A bound is of all tokens, also of those that nothing is before.
  require(s.result.bound || score.tokens == s.result.tokens, "it scored {} tokens, the model {}", score.tokens,
          s.result.tokens);
  const double part_scored = static_cast<double>(score.tokens) / static_cast<double>(s.result.tokens);
  return score.nats / part_scored / std::numbers::ln2 / static_cast<double>(s.result.bytes);
}

double compressed_bits(const Compressor& c, std::string_view before, std::string_view text) {
  const int64_t both = c.bytes(std::string(before).append(text)), first = before.empty() ? 0 : c.bytes(before);
  if (both <= first)
    throw DataError("the compressed text before takes {} bytes, with this text {}: what it adds can't be told", first,
                    both);
  return 8.0 * static_cast<double>(both - first) / static_cast<double>(text.size());
}

// Why it failed; empty where it did not.
std::string attempt(const Job& job, double& bits) {
  try {
    bits = job.bits_per_byte();
    return "";
  } catch (const std::bad_alloc&) {
    return "not enough memory";
  } catch (const std::exception& e) {
    return e.what();
  }
}

Baselines run(std::vector<Job> jobs, const std::function<void(const std::string&)>& progress) {
  std::vector<std::string> reasons(jobs.size());
  std::atomic<size_t> next = 0;
  std::mutex one_at_a_time;
  const size_t workers = std::min({static_cast<size_t>(threads()), jobs.size(), kThreads});
  run_workers(static_cast<int>(workers), [&](int) {
    for (size_t i; (i = next.fetch_add(1)) < jobs.size();) {
      if (const std::lock_guard lock(one_at_a_time); progress)
        progress(
            fmt::format("baseline {} of {}: {} after {}", i + 1, jobs.size(), jobs[i].row.name, jobs[i].row.before));
      reasons[i] = attempt(jobs[i], jobs[i].row.bits_per_byte);
    }
  });
  Baselines all;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const std::string& name = jobs[i].row.name;
    const auto said = [&](const LeftOut& l) { return l.name == name && l.reason == reasons[i]; };
    if (reasons[i].empty())
      all.rows.push_back(std::move(jobs[i].row));
    else if (std::ranges::none_of(all.left_out, said))
      all.left_out.push_back({name, reasons[i]});
  }
  return all;
}

Baselines all_of(const ScoredText& s, const BaselineOptions& options) {
  const auto targets = static_cast<int64_t>(s.tokens.tokens.size()) - 1;
  const int64_t scored = s.options.max_tokens ? std::min(s.options.max_tokens, targets) : targets;
  const TokenizedText part = s.tokens.first(1 + scored, s.tokenizer);
  const std::string_view text = s.text.substr(0, static_cast<size_t>(part.bytes));
  std::vector<Job> jobs;
  for (const int order : {2, 5})
    if (s.corpus)
      jobs.push_back({{.name = fmt::format("Kneser-Ney {}-gram", order),
                       .before = "train",
                       .before_bytes = static_cast<int64_t>(s.corpus->text(Split::train).size())},
                      [&s, &part, order, &options] { return ngram_bits(s, part, order, options.memory); }});
  const std::vector<Before> before = texts_before(s, options.most_before);
  const bool short_text = static_cast<int64_t>(text.size()) < options.least_scored;
  for (const Compressor& c : std::span(options.compressors).first(short_text ? 0 : options.compressors.size()))
    for (const Before& b : before)
      jobs.push_back({{.name = c.name,
                       .before = b.name,
                       .before_bytes = static_cast<int64_t>(b.text.size()),
                       .cut = b.cut,
                       .adapts = true},
                      [&c, &b, text] { return compressed_bits(c, b.text, text); }});
  Baselines all = run(std::move(jobs), options.progress);
  if (short_text && !options.compressors.empty())
    all.left_out.push_back(
        {"compressors", fmt::format("the text has {}; below {} their headers and padding, not the "
                                    "text, would decide the figure",
                                    counted(static_cast<int64_t>(text.size()), "byte"), options.least_scored)});
  return all;
}

}  // namespace

Baselines baselines(const ScoredText& scored, const BaselineOptions& options) {
  try {
    return all_of(scored, options);
  } catch (const std::exception& e) {
    return {{}, {{"baselines", e.what()}}};
  }
}

}  // namespace effllm
