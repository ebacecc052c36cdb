// Corpora by way of links: followed when they are read, left alone when they are prepared.
#include <doctest/doctest.h>

#include "base/error.h"
#include "data/corpus.h"
#include "store/temp_folder.h"

using namespace effllm;
namespace fs = std::filesystem;

namespace {

const std::string kText = "a text of some lines\nto be cut\n";

std::string text_through(const fs::path& manifest) { return std::string(Corpus::open(manifest.string()).text()); }

}  // namespace

TEST_CASE("corpus: a linked manifest has its text beside what it leads to, or beside the link") {
  const TempFolder folder("links");
  spill(folder / "own.txt", kText);
  prepare_corpus(folder / "own.txt", "own", folder / "store", 0.5, 0.25, "");
  fs::create_directories(folder / "data");
  fs::create_symlink("../store/own.yaml", folder / "data/own.yaml");
  fs::create_symlink("own.yaml", folder / "data/again.yaml");
  CHECK(text_through(folder / "data/own.yaml") == kText);
  CHECK(text_through(folder / "data/again.yaml") == kText);
  spill(folder / "data/own.txt", "another text that is called so");  // the manifest's own counts
  CHECK(text_through(folder / "data/own.yaml") == kText);
  fs::rename(folder / "store/own.txt", folder / "store/6f1c");  // each file in a store of contents
  fs::remove(folder / "data/own.txt");
  CHECK(has(message_of<DataError>([&] { text_through(folder / "data/own.yaml"); }), "store/own.txt"));
  fs::create_symlink("../store/6f1c", folder / "data/own.txt");
  CHECK(text_through(folder / "data/own.yaml") == kText);
}

TEST_CASE(
    "corpus: preparing a linked text leaves the link, and a link to anything else is refused before all writing") {
  const TempFolder folder("linked_text");
  spill(folder / "own.txt", kText);
  fs::create_directories(folder / "data");
  fs::create_symlink("../own.txt", folder / "data/own.txt");
  prepare_corpus(folder / "data/own.txt", "own", folder / "data", 0.5, 0.25, "");
  CHECK(fs::is_symlink(folder / "data/own.txt"));
  CHECK(slurp(folder / "own.txt") == kText);
  CHECK(text_through(folder / "data/own.yaml") == kText);

  spill(folder / "new.txt", "new");
  const std::string manifest = slurp(folder / "data/own.yaml");
  const auto replace = [&] { prepare_corpus(folder / "new.txt", "own", folder / "data", 0.5, 0.25, "", true); };
  const std::string linked_text = message_of<ConfigError>(replace);
  CHECK(has(linked_text, "data/own.txt is a link to ../own.txt"));
  CHECK(slurp(folder / "own.txt") == kText);
  CHECK(slurp(folder / "data/own.yaml") == manifest);

  fs::remove(folder / "data/own.txt");
  spill(folder / "data/own.txt", kText);
  fs::rename(folder / "data/own.yaml", folder / "kept.yaml");
  fs::create_symlink("../kept.yaml", folder / "data/own.yaml");
  prepare_corpus(folder / "own.txt", "own", folder / "data", 0.5, 0.25, "");  // the same again
  CHECK(fs::is_symlink(folder / "data/own.yaml"));
  CHECK(has(message_of<ConfigError>(replace), "data/own.yaml is a link to ../kept.yaml"));
  CHECK(slurp(folder / "data/own.txt") == kText);

  fs::create_symlink("nowhere", folder / "data/lost.txt");
  CHECK_THROWS_AS(prepare_corpus(folder / "new.txt", "lost", folder / "data", 0.5, 0.25, ""), ConfigError);
}

TEST_CASE("corpus: prepared again in the same way, the manifest keeps what people wrote in it") {
  const TempFolder folder("same_again");
  spill(folder / "own.txt", kText);
  const auto prepare = [&](double train) {
    prepare_corpus(folder / "own.txt", "own", folder / "data", train, 0.25, "");
  };
  prepare(0.5);
  std::string text = slurp(folder / "data/own.yaml");
  text.replace(text.find("title: own"), 10, "title: A text of mine");
  spill(folder / "data/own.yaml", text);
  prepare(0.5);
  CHECK(slurp(folder / "data/own.yaml") == text);
  prepare(0.6);
  CHECK(Corpus::open((folder / "data/own.yaml").string()).manifest().title == "own");
  spill(folder / "data/own.yaml", "sha256: [");
  prepare(0.5);
  CHECK(text_through(folder / "data/own.yaml") == kText);
}

TEST_CASE("corpus: what an interrupted preparation left is swept by the next of that name") {
  const TempFolder folder("left_over");
  spill(folder / "own.txt", kText);
  fs::create_directories(folder / "data");
  const std::string ended = ".tmp.999999999";  // above every process id of Linux
  for (const char* name : {"own.txt", "own.yaml", "other.txt"}) spill(folder / ("data/" + (name + ended)), "half");
  prepare_corpus(folder / "own.txt", "own", folder / "data", 0.5, 0.25, "");
  CHECK_FALSE(fs::exists(folder / ("data/own.txt" + ended)));
  CHECK_FALSE(fs::exists(folder / ("data/own.yaml" + ended)));
  CHECK(fs::exists(folder / ("data/other.txt" + ended)));  // of another name, that somebody may be writing elsewhere
}
