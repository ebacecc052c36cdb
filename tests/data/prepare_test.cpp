// prepare_corpus(): a text of the user's becomes a corpus.
#include <doctest/doctest.h>

#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "data/corpus.h"
#include "store/temp_folder.h"

using namespace effllm;
namespace fs = std::filesystem;

TEST_CASE("corpus: a prepared text opens, with the split of the fractions") {
  const TempFolder folder("prepare");
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>('a' + i * i % 23);
  const fs::path source = folder.put("source.txt", text);
  const Manifest m = prepare_corpus(source, "mine", folder.path / "out", 0.9, 0.05, "\n\n");
  CHECK(m.bytes == 1000);
  CHECK(m.train_end == 900);
  CHECK(m.val_end == 950);
  CHECK(m.document_separator == "\n\n");
  CHECK(m.sha256 == sha256(text));
  const Corpus corpus = Corpus::open((folder.path / "out/mine.yaml").string());
  CHECK(corpus.text() == text);
  CHECK(corpus.manifest().document_separator == "\n\n");
  int files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder.path / "out")) ++files;
  CHECK(files == 2);  // no temporary file stays
}

TEST_CASE("corpus: names and separators that YAML would read otherwise survive") {
  const TempFolder folder("prepare");
  const fs::path source = folder.put("source.txt", "some text to cut");
  for (const char* name : {"123", "true", "null", "1e3", "a.b-c_d"}) {
    CAPTURE(name);
    CHECK(prepare_corpus(source, name, folder.path, 0.5, 0.25, "").name == name);
  }
  for (const char* separator : {"\n", "\t", "<|end|>", "# ", ": ", "'\"", "~", "\\n", "${HOME}", "\xE2\x80\xA8"}) {
    CAPTURE(separator);
    CHECK(prepare_corpus(source, "mine", folder.path, 0.5, 0.25, separator).document_separator == separator);
  }
}

TEST_CASE("corpus: a UTF-8 text is cut between code points, other bytes anywhere") {
  const TempFolder folder("prepare");
  const std::string text = "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC";  // 4 x 3 bytes
  const Manifest utf8 = prepare_corpus(folder.put("utf8", text), "utf8", folder.path, 0.5, 0.2, "");
  CHECK(utf8.train_end == 6);
  CHECK(utf8.val_end == 6);  // 8.4 cuts the third: back to 6
  const Manifest later = prepare_corpus(folder.put("utf8", text), "utf8", folder.path, 0.7, 0.2, "");
  CHECK(later.train_end == 6);
  CHECK(later.val_end == 9);
  const Manifest raw = prepare_corpus(folder.put("raw", text + "\xFF"), "raw", folder.path, 0.7, 0.2, "");
  CHECK(raw.train_end == 9);
  CHECK(raw.val_end == 11);
}

TEST_CASE("corpus: what can't be prepared is refused, and leaves nothing behind") {
  const TempFolder folder("prepare");
  const fs::path source = folder.put("source.txt", "some text"), empty = folder.put("empty.txt", "");
  const fs::path out = folder.path / "out";
  const auto prepare = [&](const fs::path& text, const char* name, double train, double val, const char* separator) {
    prepare_corpus(text, name, out, train, val, separator);
  };
  CHECK_THROWS_AS(prepare(empty, "mine", 0.9, 0.05, ""), DataError);
  CHECK_THROWS_AS(prepare(folder.path / "none", "mine", 0.9, 0.05, ""), DataError);
  CHECK_THROWS_AS(prepare(folder.path, "mine", 0.9, 0.05, ""), DataError);
  for (const char* name : {"", "../up", "a/b", ".hidden", "-x", "two words"})
    CHECK_THROWS_AS(prepare(source, name, 0.9, 0.05, ""), ConfigError);
  CHECK_THROWS_AS(prepare(source, "mine", 0, 0.5, ""), ConfigError);
  CHECK_THROWS_AS(prepare(source, "mine", 0.9, 0.2, ""), ConfigError);
  CHECK_THROWS_AS(prepare(source, "mine", 0.9, -0.1, ""), ConfigError);
  CHECK_THROWS_AS(prepare(source, "mine", std::nan(""), 0.1, ""), ConfigError);
  CHECK_THROWS_AS(prepare(source, "mine", 0.01, 0.1, ""), DataError);  // train would be empty
  for (const char* separator : {"\xFF", "${env:HOME}"})
    CHECK_THROWS_AS(prepare(source, "mine", 0.9, 0.05, separator), ConfigError);
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("corpus: a text can be prepared where it lies") {
  const TempFolder folder("prepare");
  const fs::path source = folder.put("mine.txt", "0123456789");
  prepare_corpus(source, "mine", folder.path, 0.8, 0.1, "");
  CHECK(slurp(source) == "0123456789");
  CHECK(Corpus::open((folder.path / "mine.yaml").string()).text(Split::train) == "01234567");
}
