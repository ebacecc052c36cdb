#include "data/corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "base/escapes.h"
#include "base/hash.h"
#include "base/text.h"
#include "data/task_data.h"
#include "data/text_file.h"
#include "store/file.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kSplits = {"train", "val", "test"};

bool is_file(const fs::path& p) {
  std::error_code failure;
  return fs::is_regular_file(p, failure);
}

fs::path folder_of(const fs::path& near) {
  std::error_code failure;
  if (fs::is_directory(near, failure)) return near;
  return near.has_parent_path() ? near.parent_path() : fs::path(".");
}

// The folder of a config holds configs too (`kjv.yaml` may train on `kjv`): only a file with a digest counts there.
bool looks_like_manifest(const fs::path& file) {
  return is_file(file) && ("\n" + read_text_file(file)).find("\nsha256:") != std::string::npos;
}

std::string known_corpora(const std::vector<fs::path>& folders) {
  std::vector<std::string> names;
  for (const fs::path& folder : folders) {
    std::error_code failure;
    if (!fs::is_directory(folder, failure)) continue;
    for (const fs::path& file : list_folder(folder))
      if (file.extension() == ".yaml" && looks_like_manifest(file)) names.push_back(file.stem().string());
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names.empty() ? "there are no manifests" : "known: " + join(names, ", ");
}

// Links may gather manifests from elsewhere, with their texts or without.
fs::path text_of(const fs::path& manifest, const std::string& name) {
  std::error_code failure;
  const fs::path beside = manifest.parent_path() / name;
  if (!fs::is_symlink(manifest, failure)) return beside;
  const fs::path led_to = fs::canonical(manifest, failure).parent_path() / name;
  return is_file(led_to) || !is_file(beside) ? led_to : beside;
}

std::string remedy(const Manifest& m) {
  return m.fetch.empty() ? "put the right file there, or prepare the corpus again" : fmt::format("run `{}`", m.fetch);
}

}  // namespace

fs::path find_manifest(const std::string& name, const fs::path& near) {
  if (name.empty()) throw DataError("the name of the corpus is empty");
  const bool is_path = name.find('/') != std::string::npos || name.ends_with(".yaml") || name.ends_with(".yml");
  if (is_path) {
    const fs::path given = path_of_text(name);
    if (is_file(given)) return given;
    if (const fs::path beside = folder_of(near) / given; !near.empty() && is_file(beside)) return beside;
    throw DataError("there is no manifest {}", name);
  }
  std::vector<fs::path> folders;
  if (!near.empty()) folders.push_back(folder_of(near));
  if (!near.empty() && looks_like_manifest(folders[0] / (name + ".yaml"))) return folders[0] / (name + ".yaml");
  folders.emplace_back("data");
  if (const char* set = std::getenv("EFFLLM_DATA_DIR"); set && *set) folders.emplace_back(set);
  for (size_t i = near.empty() ? 0 : 1; i < folders.size(); ++i)
    if (const fs::path file = folders[i] / (name + ".yaml"); is_file(file)) return file;
  std::vector<std::string> places;
  for (const auto& f : folders) places.push_back(f.string());
  throw DataError(
      "there is no corpus `{}`: no {}.yaml in {} ({}). Set EFFLLM_DATA_DIR to a folder of manifests, or "
      "name the manifest's path",
      name, name, join(places, ", "), known_corpora(folders));
}

Split parse_split(std::string_view name) {
  for (size_t i = 0; i < kSplits.size(); ++i)
    if (kSplits[i] == name) return static_cast<Split>(i);
  throw ConfigError("unknown split `{}`; choose train, val or test.{}", name, did_you_mean(name, kSplits));
}

std::string_view to_string(Split split) { return kSplits.at(static_cast<size_t>(split)); }

Corpus Corpus::open(const std::string& name, const fs::path& near) {
  const fs::path file = find_manifest(name, near);
  Corpus corpus;
  Manifest& m = corpus.manifest_ = read_manifest(file);
  std::error_code failure;
  corpus.file_ = fs::absolute(file, failure);
  const fs::path text = text_of(file, m.file);
  if (!is_file(text))
    throw DataError("the text of corpus `{}` is missing: no {}; {}", m.name, text.string(), remedy(m));
  corpus.text_file_ = text;
  corpus.text_ = read_text_file(text);
  if (static_cast<int64_t>(corpus.text_.size()) != m.bytes)
    throw DataError("{} has {} where {} says {}; {}", text.string(),
                    counted(static_cast<int64_t>(corpus.text_.size()), "byte"), file.string(), m.bytes, remedy(m));
  if (const std::string digest = sha256(corpus.text_); digest != m.sha256)
    throw DataError("{} has the SHA-256 {} where {} says {}; {}", text.string(), digest, file.string(), m.sha256,
                    remedy(m));
  corpus.facts_ = examine_text(corpus.text_);
  return corpus;
}

Corpus Corpus::of_task(const Choice<TaskInfo>& task, uint64_t seed) {
  Corpus corpus;
  const auto data = std::make_shared<const TaskData>(task, seed);
  corpus.manifest_.name = task.info().name;
  corpus.manifest_.title = task.info().title;
  corpus.manifest_.sha256 = data->sha256();
  corpus.facts_.kind = TextKind::symbols;
  corpus.task_ = data;
  return corpus;
}

std::unique_ptr<Tokenizer> Corpus::tokenizer(const Choice<TokenizerInfo>& kind) const {
  if (task_) return task_->tokenizer();
  try {
    return kind.build(text_);
  } catch (const DataError& e) {
    throw DataError("{}: {}", text_file_.string(), e.what());
  }
}

CorpusIdentity Corpus::identity() const {
  if (task_)
    return {.sha256 = manifest_.sha256, .train_end = {}, .val_end = {}, .separator = {}, .task = task_->settings()};
  return {manifest_.sha256, manifest_.train_end, manifest_.val_end, manifest_.document_separator};
}

TokenizedText TokenizedText::first(int64_t n, const Tokenizer& tokenizer) const {
  if (n >= static_cast<int64_t>(tokens.size())) return *this;
  TokenizedText out;
  out.kind = kind;
  out.tokens.assign(tokens.begin(), tokens.begin() + n);
  for (const int64_t start : document_starts)
    if (start < n) out.document_starts.push_back(start);
  for (const int32_t id : out.tokens) out.bytes += tokenizer.bytes_of(id);
  return out;
}

std::string_view Corpus::text(Split split) const {
  const std::array<int64_t, 4> borders = {0, manifest_.train_end, manifest_.val_end, manifest_.bytes};
  const auto i = static_cast<size_t>(split);
  return text().substr(static_cast<size_t>(borders[i]), static_cast<size_t>(borders[i + 1] - borders[i]));
}

bool Corpus::separator_found() const {
  const std::string& separator = manifest_.document_separator;
  return !separator.empty() && text().find(separator) != std::string_view::npos;
}

bool Corpus::has(Split split) const { return task_ || !text(split).empty(); }

TokenizedText Corpus::tokenize(const Tokenizer& tokenizer, Split split) const {
  if (task_) return task_->text(split);
  if (!has(split))
    throw DataError("corpus `{}` has no {} split; choose another (eval.split, --split)", manifest_.name,
                    to_string(split));
  TokenizedText out = tokenize_text(tokenizer, text(split), manifest_.document_separator,
                                    fmt::format("corpus `{}`, split {}", manifest_.name, to_string(split)));
  out.kind = facts_.kind;
  return out;
}

TokenizedText tokenize_text(const Tokenizer& tokenizer, std::string_view source, const std::string& separator,
                            const std::string& name) {
  if (source.empty()) throw DataError("{}: the text is empty", name);
  TokenizedText out;
  out.kind = examine_text(source).kind;
  try {
    out.tokens = tokenizer.encode(source);
  } catch (const DataError& e) {
    throw DataError("{}: {}", name, e.what());
  }
  out.bytes = static_cast<int64_t>(source.size());
  out.document_starts = {0};
  if (separator.empty()) return out;
  // A document begins with the first token that begins at or after the separator's end.
  int64_t byte = 0;
  size_t next = source.find(separator);
  for (size_t i = 0; i < out.tokens.size() && next != std::string_view::npos; ++i) {
    const auto start = static_cast<int64_t>(next + separator.size());
    if (byte >= start) {
      if (i > 0) out.document_starts.push_back(static_cast<int64_t>(i));
      while (next != std::string_view::npos && static_cast<int64_t>(next + separator.size()) <= byte)
        next = source.find(separator, next + separator.size());
    }
    byte += tokenizer.bytes_of(out.tokens[i]);
  }
  return out;
}

}  // namespace effllm
