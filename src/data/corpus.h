// A corpus: a text file, described and pinned by a manifest (data/<name>.yaml), cut into train, val and test; or the
// samples of a task, which have a name and a hash, and no text.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/corpus_identity.h"
#include "data/text_kind.h"
#include "data/tokenizer.h"
#include "tasks/task.h"

namespace effllm {

// What a manifest says. Splits are half-open byte ranges of the file that tile it.
struct Manifest {
  std::string name, title, license, file /* relative to the manifest */, sha256;
  int64_t bytes = 0;
  int64_t train_end = 0, val_end = 0;  // train [0, train_end), val [train_end, val_end), test [val_end, bytes)
  std::string document_separator;      // a document starts after each occurrence; empty: one document
  std::string fetch;                   // the command that gets the text, for messages; empty: there is none
  std::vector<std::string> sources;    // where the text comes from, for people
};

enum class Split { train, val, test };
Split parse_split(std::string_view name);  // ConfigError with the choices
std::string_view to_string(Split);

class TaskData;

// Of a sample of a task: its tokens, and what Sample::difficulty says.
struct SampleSize {
  int64_t length, difficulty;
};

// One split, as tokens. `document_starts` are indices into `tokens`, ascending, the first 0.
struct TokenizedText {
  std::vector<int32_t> tokens;
  std::vector<int64_t> document_starts;
  int64_t bytes = 0;
  TextKind kind = TextKind::utf8;        // of the whole corpus, so that its splits are told in one unit
  std::vector<int32_t> labels = {};      // of a task the target of each token (Stretch::labels); else empty
  std::vector<SampleSize> samples = {};  // the same: each is a row, and all rows have as many tokens
  // The first `n` tokens, of a text of fewer all.
  TokenizedText first(int64_t n, const Tokenizer& tokenizer) const;
};

// The manifest `name` in one of: the folder of `near` (the config file), ./data, $EFFLLM_DATA_DIR; or `name` as a path
// (also as path_text writes it), from here or from the folder of `near`. DataError where there is none.
std::filesystem::path find_manifest(const std::string& name, const std::filesystem::path& near = {});

// `source` as tokens; a document starts after each occurrence of `separator`, where that is not empty. `name` is for
// messages. DataError for an empty text and for symbols that the tokenizer lacks.
TokenizedText tokenize_text(const Tokenizer& tokenizer, std::string_view source, const std::string& separator,
                            const std::string& name);

class Corpus {
 public:
  // That of the manifest which is found so. The text is looked for beside it; where it is a link, beside what it leads
  // to, then beside the link. DataError with the command to run where the text is missing, of another size or SHA-256.
  static Corpus open(const std::string& name, const std::filesystem::path& near = {});
  // The samples of a task. ConfigError where its options do not fit each other.
  static Corpus of_task(const Choice<TaskInfo>& task, uint64_t seed);
  const TaskData* task() const { return task_.get(); }  // null: it is a text
  const Manifest& manifest() const { return manifest_; }
  CorpusIdentity identity() const;
  const std::filesystem::path& file() const { return file_; }  // the manifest, absolute; empty of a task
  // That of this kind with the symbols of the text. DataError, which names the text, where it has none.
  std::unique_ptr<Tokenizer> tokenizer(const Choice<TokenizerInfo>& kind) const;
  std::string_view text() const { return text_; }
  const TextFacts& facts() const { return facts_; }
  bool separator_found() const;  // false also where there is no separator
  std::string_view text(Split) const;
  bool has(Split) const;  // a manifest may leave test empty
  // DataError for an empty split and for symbols that the tokenizer lacks.
  TokenizedText tokenize(const Tokenizer&, Split) const;

 private:
  Manifest manifest_;
  std::filesystem::path file_, text_file_;
  std::string text_;
  TextFacts facts_;
  std::shared_ptr<const TaskData> task_;
};

// ConfigError where a field is missing or wrong (the splits must tile the file), DataError where there is no file.
Manifest read_manifest(const std::filesystem::path& file);
// Copies `text` to <folder>/<name>.txt and writes <folder>/<name>.yaml with sizes, SHA-256 and a contiguous split.
// `train` and `val` are fractions; a UTF-8 file is cut at code-point borders. DataError for a missing or empty file and
// where train would be empty, ConfigError for fractions, names and separators that don't work, IoError for writing.
// ConfigError, unless `replace`, where a corpus of that name is there with another text, splits or separator. What is
// there already stays, links too; a link to anything else is a ConfigError.
Manifest prepare_corpus(const std::filesystem::path& text, const std::string& name, const std::filesystem::path& folder,
                        double train, double val, const std::string& document_separator, bool replace = true);

}  // namespace effllm
