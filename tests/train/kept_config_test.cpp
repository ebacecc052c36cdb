// The configuration that is kept with a run means the same from there.
#include "train/kept_config.h"

#include <doctest/doctest.h>

#include "data/corpus.h"
#include "store/temp_folder.h"

using namespace effllm;
namespace fs = std::filesystem;

namespace {

const std::string kModel = "model: {d_model: 16, layers: [{mixer: {type: min_gru}}]}  # small\ntrain: {max_steps: 1}\n";

struct Place {
  TempFolder folder{"kept_config"};
  std::string manifest = (folder / "texts/own.yaml").string();
  Place() {
    spill(folder / "own.txt", "a text");
    prepare_corpus(folder / "own.txt", "own", folder / "texts", 0.5, 0.25, "");
    fs::create_directories(folder / "configs");
    fs::create_directories(folder / "kept");
  }
  std::string kept(const std::string& text, const std::string& name = "c", const std::string& corpus = "") const {
    spill(folder / "configs/c.yaml", text);
    return kept_config(folder / "configs/c.yaml", text, name, corpus);
  }
  // Both read from where they are give the same run; only the corpus has its full path.
  void same_run(const std::string& text, const std::string& name = "c") const {
    const std::string k = kept(text, name);
    CAPTURE(k);
    spill(folder / "kept/config.yaml", k);
    ConfigNode before =
                   write_run_config(read_run_config(load_config(folder / "configs/c.yaml"), folder / "configs/c.yaml")),
               after = write_run_config(
                   read_run_config(load_config(folder / "kept/config.yaml"), folder / "kept/config.yaml"));
    CHECK(after.find("name")->text() == name);
    CHECK(after.find("data")->find("corpus")->text() == manifest);
    for (ConfigNode* n : {&before, &after}) n->erase("name"), n->find("data")->erase("corpus");
    CHECK(to_yaml(after) == to_yaml(before));
    spill(folder / "configs/c.yaml", k);
    CHECK(kept_config(folder / "configs/c.yaml", k, name, "") == k);  // kept once more it stays as it is
  }
};

}  // namespace

TEST_CASE("kept config: comments and layout stay, the corpus gets its full path, the run its name") {
  const Place p;
  CHECK(p.kept("# mine\n" + kModel + "data:\n  corpus: ../texts/own.yaml   # by path\n  seed: 7\n") ==
        "name: c\n# mine\n" + kModel + "data:\n  corpus: " + p.manifest + "   # by path\n  seed: 7\n");
  CHECK(p.kept("name: old\n" + kModel + "data: {seed: 3, corpus: '../texts/own.yaml', tokenizer: byte}\n", "new") ==
        "name: new\n" + kModel + "data: {seed: 3, corpus: " + p.manifest + ", tokenizer: byte}\n");
  CHECK(p.kept("name: c\n" + kModel) == "name: c\n" + kModel);
  CHECK(p.kept("name: c\n" + kModel + "data: {corpus: none}\n") == "name: c\n" + kModel + "data: {corpus: none}\n");
}

TEST_CASE("kept config: however it was written, it is the same run from where it is kept") {
  const Place p;
  for (const std::string& corpus : {std::string("../texts/own.yaml"), p.manifest}) {
    p.same_run(kModel + "data: {corpus: " + corpus + "}\n");
    p.same_run(kModel + "data: {corpus: \"" + corpus + "\"}\nname: other\n", "third");
    p.same_run("{name: other, data: {corpus: " + corpus +
                   ", seed: 4}, train: {max_steps: 1}, model: {layers: [{mixer: "
                   "{type: gru}}]}}\n",
               "third");
    p.same_run("--- # a document\n" + kModel + "data: {corpus: " + corpus + "}\n");
    p.same_run(kModel + "data:\n  corpus: >-\n    " + corpus + "\n");
    p.same_run(kModel + "eval: {prompt: &path " + corpus + "}\ndata: {corpus: *path}\n");
    p.same_run(kModel + "eval: {prompt: \xC3\xA4\xC3\xA4}\ndata: {tokenizer: byte, corpus: " + corpus + "}\n");
    p.same_run("{eval: {prompt: \xC3\xA4\xC3\xA4}, data: {corpus: " + corpus +
               "}, train: {max_steps: 1}, model: {layers: "
               "[{mixer: {type: gru}}]}}\n");
  }
}

TEST_CASE("kept config: where the file names no corpus that is there, it is the run's, and comments stay") {
  const Place p;
  const std::string own = p.manifest;
  CHECK(p.kept("name: c\n" + kModel, "c", own) == "name: c\n" + kModel + "data: {corpus: " + own + "}\n");
  CHECK(p.kept(kModel + "data: {tokenizer: char}  # mine\nname: x\n", "c", own) ==
        kModel + "data: {corpus: " + own + ", tokenizer: char}  # mine\nname: c\n");
  CHECK(p.kept(kModel + "data:\n  # of words\n  tokenizer: char\n  seed: 3\n", "c", own) ==
        "name: c\n" + kModel + "data:\n  # of words\n  corpus: " + own + "\n  tokenizer: char\n  seed: 3\n");
  CHECK(p.kept("name: c\n" + kModel + "data: {corpus: none}  # gone\n", "c", own) ==
        "name: c\n" + kModel + "data: {corpus: " + own + "}  # gone\n");
  // What is named and there stays, though --set named another for this run.
  CHECK(p.kept("name: c\n" + kModel + "data: {corpus: ../texts/own.yaml}\n", "c", "/texts/other.yaml") ==
        "name: c\n" + kModel + "data: {corpus: " + own + "}\n");
  for (const std::string data : {"data: {}\n", "data: &d {tokenizer: byte}\n", ""}) {
    const std::string kept = p.kept(kModel + data, "c", own);
    CAPTURE(kept);
    CHECK(read_run_config(parse_config(kept, "kept")).data.corpus == own);
  }
}

TEST_CASE("kept config: overrides keep the corpus by its full path, all others are as they were written") {
  const Place p;
  const fs::path near = p.folder / "texts";
  CHECK(kept_override("data.corpus=own", near) == "data.corpus=" + p.manifest);
  CHECK(kept_override("data.corpus='own.yaml'", near) == "data.corpus=" + p.manifest);
  CHECK(kept_override("data={tokenizer: char, corpus: own}", near) ==
        "data={tokenizer: char, corpus: " + p.manifest + "}");
  for (const std::string as_it_is : {"data.corpus=none", "data={tokenizer: char}", "~data.corpus", "optim.lr=1e-3",
                                     "model.layers[2].mixer.window=7", "no override", "data.corpus=[own]"})
    CHECK(kept_override(as_it_is, near) == as_it_is);
  // A place with a blank, a comma and a bracket is one value.
  const fs::path odd = p.folder / "a, b] #c";
  fs::create_directories(odd);
  prepare_corpus(p.folder / "own.txt", "own", odd, 0.5, 0.25, "");
  ConfigNode root;
  apply_override(root, kept_override("data.corpus=own", odd), 1);
  CHECK(root.find("data")->find("corpus")->text() == (odd / "own.yaml").string());
  CHECK(corpus_in("data={corpus: x}") == "x");
  CHECK_FALSE(corpus_in("~data.corpus"));
}

TEST_CASE("kept config: bases are worked in, and need not be there any more") {
  const Place p;
  spill(p.folder / "common.yaml", kModel + "data: {corpus: ../texts/own.yaml, seed: 9}\n");
  p.same_run("base: ../common.yaml\ntrain: {seed: 5}\n");
  const std::string kept = p.kept("base: ../common.yaml\ntrain: {seed: 5}\n");
  CHECK(kept.starts_with("# c.yaml, its bases worked in\nname: c\n"));
  CHECK(kept.find("base:") == kept.npos);
  fs::remove(p.folder / "common.yaml");
  spill(p.folder / "kept/config.yaml", kept);
  const RunConfig c = read_run_config(load_config(p.folder / "kept/config.yaml"));
  CHECK(c.train.seed == 5);
  CHECK(c.data.seed == 9);
}
