// Manifests: reading and checking them, and writing one for a text of the user's.
#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "base/utf8.h"
#include "config/options.h"
#include "data/corpus.h"
#include "data/text_file.h"
#include "store/file.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

struct SplitOptions : Options {
  std::vector<int64_t> train, val, test;
  void visit(OptionVisitor& v) override {
    v("train", train, "Gives the first byte of the training split, and one past its last.", at_least(0));
    v("val", val, "Gives the same of the validation split.", at_least(0));
    v("test", test, "Gives the same of the test split, which may be empty.", at_least(0));
  }
};

struct ManifestOptions : Options {
  int64_t version = 1;
  Manifest m;  // but for its splits
  ConfigNode splits;
  void visit(OptionVisitor& v) override {
    v("version", version, "Says which version of the manifest's format it is.", between(1, 1));
    v("name", m.name, "Names the corpus.");
    v("title", m.title, "Describes it in one line, for people.");
    v("license", m.license, "Says under which terms the text may be used.");
    v("file", m.file, "Names the text, relative to the manifest.");
    v("bytes", m.bytes, "Gives the size of the text.", at_least(1));
    v("sha256", m.sha256, "Gives the digest of the text, 64 lower-case hexadecimal digits.");
    v("splits", splits, "Gives train, val and test as [begin, end) in bytes, which tile the text.");
    v("document_separator", m.document_separator,
      "Separates documents: one starts after each occurrence; empty: one document.");
    v("fetch", m.fetch, "Gives the command that gets the text.");
    v("sources", m.sources, "Says where the text comes from, for people.");
  }
};

// Where to point for `key`: at its value, or at the whole where it is missing.
const Mark& mark_of(const ConfigNode& node, std::string_view key) {
  const ConfigNode* found = node.find(key);
  return found ? found->mark() : node.mark();
}

void check_digest(const ManifestOptions& o, const ConfigNode& node, Diagnostics& found) {
  const auto hexadecimal = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (o.m.sha256.size() != 64 || !std::ranges::all_of(o.m.sha256, hexadecimal))
    found.error(mark_of(node, "sha256"), "`sha256` must be 64 lower-case hexadecimal digits");
}

void check_splits(const SplitOptions& s, const ManifestOptions& o, Diagnostics& found) {
  const Mark& where = o.splits.mark();
  if (s.train.size() != 2 || s.val.size() != 2 || s.test.size() != 2)
    return found.error(where, "each of train, val and test must be [begin, end]");
  if (s.train[0] != 0 || s.train[1] != s.val[0] || s.val[1] != s.test[0] || s.test[1] != o.m.bytes)
    return found.error(where, fmt::format("the splits must tile the text: train from 0, val where train ends, test "
                                          "where val ends, to {}",
                                          o.m.bytes));
  if (s.train[1] <= 0 || s.val[1] < s.val[0] || s.test[1] < s.test[0])
    found.error(where, "a split must not end before it begins, and train must not be empty");
}

ConfigNode range_node(int64_t begin, int64_t end) {
  return ConfigNode::list({ConfigNode::scalar(std::to_string(begin)), ConfigNode::scalar(std::to_string(end))});
}

ConfigNode manifest_node(const Manifest& m) {
  ManifestOptions o;
  o.m = m;
  o.splits = ConfigNode::map();
  o.splits.set("train", range_node(0, m.train_end));
  o.splits.set("val", range_node(m.train_end, m.val_end));
  o.splits.set("test", range_node(m.val_end, m.bytes));
  return write(o);
}

struct Piece {
  fs::path file;
  std::string content;
};

// Whether it is there already, be it by way of a link.
bool is_there(const Piece& p) {
  std::error_code failure;
  return fs::is_regular_file(p.file, failure) && fs::file_size(p.file, failure) == p.content.size() &&
         read_text_file(p.file) == p.content;
}

// Whether runs can't tell them apart.
bool same_text(const Manifest& a, const Manifest& b) {
  return a.sha256 == b.sha256 && a.train_end == b.train_end && a.val_end == b.val_end &&
         a.document_separator == b.document_separator;
}

// Whether a manifest says the same already; what people wrote in it (title, licence, sources) then stays.
bool says_so(const fs::path& file, const Manifest& m) {
  std::error_code failure;
  if (!fs::is_regular_file(file, failure)) return false;
  try {
    const Manifest old = read_manifest(file);
    return old.name == m.name && old.file == m.file && same_text(old, m);
  } catch (const ConfigError&) {  // to be replaced
    return false;
  }
}

// A new file would take the place of a link, and leave what it leads to as it was.
void refuse_link(const Piece& p) {
  std::error_code failure;
  if (fs::is_symlink(fs::symlink_status(p.file, failure)) && !is_there(p))
    throw ConfigError("{} is a link to {}, which holds something else: remove the link, or choose another --name",
                      p.file.string(), fs::read_symlink(p.file, failure).string());
}

void check_name(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  if (name.empty() || name[0] == '.' || name[0] == '-' || !std::ranges::all_of(name, plain))
    throw ConfigError("`{}` can't name a corpus; give one (--name) of letters, digits, '-', '_' and '.'", name);
}

// Refuses to replace what a name stands for: runs that trained on it could neither be resumed nor evaluated.
void refuse_other(const Manifest& m, const fs::path& folder) {
  const fs::path manifest = folder / (m.name + ".yaml"), text = folder / m.file;
  std::error_code failure;
  if (fs::exists(manifest, failure)) {
    const Manifest old = read_manifest(manifest);
    if (same_text(old, m)) return;
    throw ConfigError(
        "{} exists with another {}: choose another --name, or replace it with --force (runs that trained on it can "
        "then "
        "be neither resumed nor evaluated)",
        manifest.string(), old.sha256 == m.sha256 ? "division into splits or documents" : "text");
  }
  if (fs::exists(text, failure) && sha256(read_text_file(text)) != m.sha256)
    throw ConfigError("{} exists with another text: choose another --name, or replace it with --force", text.string());
}

}  // namespace

Manifest read_manifest(const fs::path& file) {
  const ConfigNode node = parse_config(read_text_file(file), file.string());
  if (!node.is_map()) throw_at(node.mark(), "a manifest is a map with name, file, bytes, sha256 and splits");
  ManifestOptions o;
  Diagnostics found;
  read(o, node, "manifest", found);
  for (const char* key : {"name", "file", "bytes", "sha256", "splits"})
    if (!node.find(key)) found.error(node.mark(), fmt::format("the manifest lacks `{}`", key));
  found.throw_if_any();
  SplitOptions splits;
  read(splits, o.splits, "splits", found);
  check_digest(o, node, found);
  check_splits(splits, o, found);
  if (o.m.name.empty()) found.error(mark_of(node, "name"), "`name` must not be empty");
  if (o.m.file.empty()) found.error(mark_of(node, "file"), "`file` must not be empty");
  found.throw_if_any();
  o.m.train_end = splits.train[1];
  o.m.val_end = splits.val[1];
  return o.m;
}

Manifest prepare_corpus(const fs::path& text, const std::string& name, const fs::path& folder, double train, double val,
                        const std::string& document_separator, bool replace) {
  check_name(name);
  if (!(train > 0) || !(val >= 0) || !(train + val <= 1 + 1e-9))
    throw ConfigError(
        "splits of {} for train and {} for val: train must be above 0, val at least 0, their sum at most 1", train,
        val);
  if (!is_utf8(document_separator) || document_separator.find("${env:") != std::string::npos)
    throw ConfigError("the document separator must be UTF-8 without `${{env:`, which manifests replace");
  const std::string content = read_text_file(text);
  if (content.empty()) throw DataError("{} is empty; a corpus needs a text", text.string());

  const bool utf8 = is_utf8(content);
  const auto cut = [&](double fraction) {  // 1e-6: 0.9 n may fall short of its integer by rounding
    const auto at =
        std::min(content.size(), static_cast<size_t>(fraction * static_cast<double>(content.size()) + 1e-6));
    return static_cast<int64_t>(utf8 ? code_point_border(content, at) : at);
  };
  Manifest m;
  m.name = m.title = name;
  m.license = "unknown";
  m.file = name + ".txt";
  m.sha256 = sha256(content);
  m.bytes = static_cast<int64_t>(content.size());
  m.train_end = cut(train);
  m.val_end = std::max(m.train_end, cut(train + val));
  m.document_separator = document_separator;
  if (m.train_end == 0) throw DataError("{} is too short: the train split would be empty", text.string());

  if (!replace) refuse_other(m, folder);
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw IoError("can't create the folder {}: {}", folder.string(), failure.message());
  const fs::path manifest = folder / (name + ".yaml");
  std::vector<Piece> pieces = {{folder / m.file, content}};
  if (!says_so(manifest, m)) pieces.push_back({manifest, to_yaml(manifest_node(m))});
  for (const Piece& p : pieces) refuse_link(p);
  for (const Piece& p : pieces) {
    sweep_stale_temps(folder, p.file.filename().string());
    if (!is_there(p)) write_file_atomic(p.file, p.content);
  }
  return read_manifest(manifest);
}

}  // namespace effllm
