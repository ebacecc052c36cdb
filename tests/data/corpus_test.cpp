#include "data/corpus.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/hash.h"
#include "store/temp_folder.h"
#include "support/named.h"
#include "support/paths.h"

using namespace effllm;
namespace fs = std::filesystem;

namespace {

// A manifest of `text`, with the splits [0, a), [a, b), [b, n).
std::string manifest_text(const std::string& text, size_t a, size_t b, const std::string& more = "") {
  const auto s = [](size_t n) { return std::to_string(n); };
  return "version: 1\nname: tiny\nfile: tiny.txt\nbytes: " + s(text.size()) + "\nsha256: " + sha256(text) +
         "\nsplits:\n  train: [0, " + s(a) + "]\n  val: [" + s(a) + ", " + s(b) + "]\n  test: [" + s(b) + ", " +
         s(text.size()) + "]\n" + more;
}

std::string replaced(std::string s, const std::string& from, const std::string& to) {
  const size_t at = s.find(from);
  REQUIRE(at != std::string::npos);
  return s.replace(at, from.size(), to);
}

const std::string kTen = "abcdefghij";

struct Folder : TempFolder {
  Folder() : TempFolder("corpus") {}
  // tiny.txt and its manifest.
  Corpus corpus(const std::string& text, size_t a, size_t b, const std::string& more = "") const {
    put("tiny.txt", text);
    return Corpus::open(put("tiny.yaml", manifest_text(text, a, b, more)).string());
  }
};

// Sets EFFLLM_DATA_DIR for its own lifetime.
class DataDir {
 public:
  explicit DataDir(const fs::path& folder) {
    if (const char* old = std::getenv("EFFLLM_DATA_DIR")) old_ = old;
    ::setenv("EFFLLM_DATA_DIR", folder.c_str(), 1);
  }
  ~DataDir() { old_.empty() ? ::unsetenv("EFFLLM_DATA_DIR") : ::setenv("EFFLLM_DATA_DIR", old_.c_str(), 1); }
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

 private:
  std::string old_;
};

}  // namespace

TEST_CASE("corpus: the shipped manifests are valid and hold the published splits") {
  const fs::path data = fs::path(test::kSourceDir) / "data";
  const Manifest kjv = read_manifest(data / "kjv.yaml");
  CHECK(kjv.name == "kjv");
  CHECK(kjv.bytes == 4137850);
  CHECK(kjv.train_end == 3724065);
  CHECK(kjv.val_end == 3930957);
  CHECK(kjv.fetch == "scripts/fetch_data.sh kjv");
  const Manifest shakespeare = read_manifest(data / "tinyshakespeare.yaml");
  CHECK(shakespeare.train_end == 1003854);
  CHECK(shakespeare.val_end == 1115394);  // no test split
  CHECK(shakespeare.bytes == 1115394);
  const Manifest addresses = read_manifest(data / "sotu.yaml");
  CHECK(addresses.train_end == 9685480);
  CHECK(addresses.val_end == 10223562);
  for (const auto& entry : fs::directory_iterator(data))
    if (entry.path().extension() == ".yaml") CHECK(read_manifest(entry.path()).name == entry.path().stem().string());
}

TEST_CASE("corpus: a manifest gives the text and its splits") {
  const Folder folder;
  const Corpus corpus = folder.corpus(kTen, 6, 8, "title: Ten letters\nlicense: none\n");
  CHECK(corpus.manifest().title == "Ten letters");
  CHECK(corpus.text() == kTen);
  CHECK(corpus.text(Split::train) == "abcdef");
  CHECK(corpus.text(Split::val) == "gh");
  CHECK(corpus.text(Split::test) == "ij");
  const auto tokens = corpus.tokenize(*build_tokenizer("byte", ""), Split::val);
  CHECK(tokens.tokens == std::vector<int32_t>{'g', 'h'});
  CHECK(tokens.bytes == 2);
  CHECK(tokens.document_starts == std::vector<int64_t>{0});
}

TEST_CASE("corpus: two are the same only with the same text, splits and separator, and what differs is told") {
  const CorpusIdentity one{"a", 5, 8, "|"};
  CHECK(differences(one, one).empty());
  CHECK(differences(one, {"a", {}, {}, {}}).empty());  // what is not recorded is not compared
  const std::pair<CorpusIdentity, const char*> others[] = {
      {{"b", 5, 8, "|"}, "the text had the SHA-256 a, now b"},
      {{"a", 4, 8, "|"}, "train ended at byte 5, now at 4"},
      {{"a", 5, 9, "|"}, "val ended at byte 8, now at 9"},
      {{"a", 5, 8, ""}, "the document separator was `|`, now none"}};
  for (const auto& [other, text] : others) {
    CHECK(differences(one, other) == std::vector<std::string>{text});
    CHECK(other.hash() != one.hash());
  }
}

TEST_CASE("corpus: names are looked up beside the config and in EFFLLM_DATA_DIR") {
  const Folder folder;
  for (const char* where : {"near/", "far/"}) {
    folder.put(std::string(where) + "tiny.txt", kTen);
    folder.put(std::string(where) + "tiny.yaml", manifest_text(kTen, 6, 8, std::string("title: ") + where + "\n"));
  }
  const DataDir data_dir(folder.path / "far");
  CHECK(Corpus::open("tiny").manifest().title == "far/");
  CHECK(Corpus::open("tiny", folder.path / "near/run.yaml").manifest().title == "near/");
  CHECK(Corpus::open("near/tiny.yaml", folder.path / "run.yaml").manifest().title == "near/");
  const std::string message = message_of<DataError>([] { Corpus::open("tine"); });
  CHECK(has(message, "tine.yaml"));
  CHECK(has(message, "tiny"));
  CHECK_THROWS_AS(Corpus::open("nowhere/tiny.yaml"), DataError);
  CHECK_THROWS_AS(Corpus::open(""), DataError);
}

TEST_CASE("corpus: a config of the corpus' name is not taken for its manifest") {
  const Folder folder;
  folder.put("data/tiny.txt", kTen);
  folder.put("data/tiny.yaml", manifest_text(kTen, 6, 8));
  const fs::path config = folder.put("configs/tiny.yaml", "data: {corpus: tiny}\n");
  const DataDir data_dir(folder.path / "data");
  CHECK(Corpus::open("tiny", config).text() == kTen);
}

TEST_CASE("corpus: a text that is missing, of another size or of another content is refused with the remedy") {
  const Folder folder;
  const fs::path file = folder.put("tiny.yaml", manifest_text(kTen, 6, 8, "fetch: scripts/get_it.sh tiny\n"));
  const auto refusal = [&] { return message_of<DataError>([&] { Corpus::open(file.string()); }); };
  CHECK(has(refusal(), "missing"));
  CHECK(has(refusal(), "run `scripts/get_it.sh tiny`"));
  folder.put("tiny.txt", "abcdefghi");
  CHECK(has(refusal(), "9 bytes"));
  folder.put("tiny.txt", "abcdefghiJ");
  CHECK(has(refusal(), "SHA-256"));
  CHECK(has(refusal(), "run `scripts/get_it.sh tiny`"));
  folder.put("tiny.txt", kTen);
  CHECK(refusal().empty());
}

TEST_CASE("corpus: a manifest with a missing or wrong field is a ConfigError that names it") {
  const Folder folder;
  const std::string good = manifest_text(kTen, 6, 8);
  const auto message = [&](const std::string& text) {
    return message_of<ConfigError>([&] { read_manifest(folder.put("tiny.yaml", text)); });
  };
  CHECK(message(good).empty());
  CHECK(has(message(replaced(good, "name: tiny\n", "")), "`name`"));
  CHECK(has(message(replaced(good, "sha256: ", "sha256: x")), "sha256"));
  CHECK(has(message(replaced(good, "file: tiny.txt", "file: ''")), "`file`"));
  CHECK(has(message(replaced(good, "file:", "flie:")), "flie"));
  CHECK(has(message(replaced(good, "version: 1", "version: 2")), "version"));
  CHECK(has(message(replaced(good, "bytes: 10", "bytes: ten")), "bytes"));
  CHECK(has(message(replaced(good, "bytes: 10", "bytes: 11")), "tile"));  // the end
  CHECK(has(message(replaced(good, "val: [6", "val: [7")), "tile"));      // a gap
  CHECK(has(message(replaced(good, "train: [0", "train: [1")), "tile"));  // the beginning
  CHECK(has(message(replaced(good, "val: [6, 8]", "val: [6]")), "[begin, end]"));
  CHECK(has(message(manifest_text(kTen, 0, 8)), "train must not be empty"));
  CHECK(has(message(manifest_text(kTen, 8, 6)), "before it begins"));
  CHECK(has(message("- 1\n"), "a manifest is a map"));
  CHECK_THROWS_AS(read_manifest(folder.path / "none.yaml"), DataError);
}

TEST_CASE("corpus: an empty test split can be declared, and using it is refused") {
  const Folder folder;
  const Corpus corpus = folder.corpus(kTen, 6, 10);
  CHECK(corpus.text(Split::test).empty());
  const auto tokenizer = build_tokenizer("byte", "");
  CHECK_THROWS_WITH_AS(corpus.tokenize(*tokenizer, Split::test),
                       "corpus `tiny` has no test split; choose another (eval.split, --split)", DataError);
}

TEST_CASE("corpus: documents start after each separator, in tokens") {
  const Folder folder;
  // Train: é|b||c| (the last separator ends the split: no document follows), val: d|e.
  const std::string text = "\xC3\xA9|b||c|d|e";
  const Corpus corpus = folder.corpus(text, 8, 11, "document_separator: '|'\n");
  const auto in_bytes = corpus.tokenize(*build_tokenizer("byte", ""), Split::train);
  CHECK(in_bytes.document_starts == std::vector<int64_t>{0, 3, 5, 6});
  const auto in_chars = corpus.tokenize(*build_tokenizer("char", corpus.text()), Split::train);
  CHECK(in_chars.tokens.size() == 7);
  CHECK(in_chars.bytes == 8);
  CHECK(in_chars.document_starts == std::vector<int64_t>{0, 2, 4, 5});
  const auto val = corpus.tokenize(*build_tokenizer("byte", ""), Split::val);
  CHECK(val.document_starts == std::vector<int64_t>{0, 2});
}

TEST_CASE("corpus: a separator of several bytes is matched without overlap") {
  const Folder folder;
  const std::string text = "a\n\n\nb\n\nc";
  const Corpus corpus = folder.corpus(text, text.size(), text.size(), "document_separator: \"\\n\\n\"\n");
  const auto train = corpus.tokenize(*build_tokenizer("byte", ""), Split::train);
  CHECK(train.document_starts == std::vector<int64_t>{0, 3, 7});
}

TEST_CASE("corpus: a symbol that only the other split has is reported with corpus and split") {
  const Folder folder;
  const std::string text = "aaaaaaaabb";
  const Corpus corpus = folder.corpus(text, 8, 9);
  const auto tokenizer = build_tokenizer("char", corpus.text(Split::train));
  const std::string message = message_of<DataError>([&] { corpus.tokenize(*tokenizer, Split::val); });
  CHECK(has(message, "corpus `tiny`, split val"));
  CHECK(has(message, "U+0062"));
}

TEST_CASE("corpus: split names are parsed and printed") {
  for (const Split s : {Split::train, Split::val, Split::test}) CHECK(parse_split(to_string(s)) == s);
  CHECK_THROWS_WITH_AS(parse_split("vel"), doctest::Contains("Did you mean `val`?"), ConfigError);
}
