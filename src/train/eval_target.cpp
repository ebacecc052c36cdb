#include "train/eval_target.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "data/text_file.h"

namespace effllm {

EvalTarget split_target(const LoadedModel& m, Split split, const std::string& other_corpus, bool allow_other) {
  if (m.config.data.task && !other_corpus.empty())
    throw ConfigError("{} was trained on samples of {}, and a corpus has no such: leave --corpus out",
                      m.checkpoint.string(), m.config.data.task.name());
  EvalTarget t;
  t.name = to_string(split);
  t.split = split;
  t.corpus = other_corpus.empty() ? open_corpus(m) : Corpus::open(other_corpus);
  t.other_than_trained_on = differences(m.corpus, t.corpus->identity());
  const auto refuse = [&](const std::string& remedy) {
    throw DataError("{} was trained on another corpus than {}: {}. {}", m.checkpoint.string(),
                    t.corpus->task() ? "the task now gives" : t.corpus->file().string(),
                    join(t.other_than_trained_on, "; "), remedy);
  };
  const bool refused = !t.other_than_trained_on.empty() && !allow_other;
  try {
    t.tokens = t.corpus->tokenize(*m.tokenizer, split);
  } catch (const DataError& e) {
    if (refused) refuse(fmt::format("Nor can it be evaluated on: {}", e.what()));
    throw;
  }
  if (refused) refuse("To evaluate on it all the same: --allow-data-mismatch");
  return t;
}

EvalTarget file_target(const LoadedModel& m, const std::string& file) {
  if (m.config.data.task)
    throw ConfigError(
        "{} was trained on samples of {}, and a text says of no target that it is scored: leave --text "
        "out",
        m.checkpoint.string(), m.config.data.task.name());
  EvalTarget t;
  t.name = file;
  t.file_text = read_text_file(file);
  t.file_sha256 = sha256(t.file_text);
  try {
    Corpus found = open_corpus(m);
    const std::vector<std::string> other = differences(m.corpus, found.identity());
    if (other.empty())
      t.corpus = std::move(found);
    else
      t.no_corpus =
          fmt::format("the model was trained on another corpus than {}: {}", found.file().string(), join(other, "; "));
  } catch (const Error& e) {
    t.no_corpus = e.what();
  }
  std::string separator = t.corpus ? t.corpus->manifest().document_separator : "";
  if (m.corpus.separator) separator = *m.corpus.separator;
  t.tokens = tokenize_text(*m.tokenizer, t.file_text, separator, file);
  return t;
}

}  // namespace effllm
