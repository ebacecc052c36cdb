#include <filesystem>
#include <fstream>
#include <random>

#include "config/expect.h"
#include "config/node.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;
using testing::config_error;

// A folder below the temporary one, removed at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("effllm_config_test_" + std::to_string(std::random_device{}()))) {
    fs::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path write(const fs::path& name, std::string_view text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST_CASE("load_config: bases merge below the file, relative to it: maps merge and lists replace") {
  const Folder folder;
  folder.write("common/one.yaml", "m: {a: 1, b: 2}\nl: [1, 2, 3]\nonly: one\n");
  folder.write("common/two.yaml", "base: one.yaml\nm: {b: 20, c: 30}\n");
  folder.write("three.yaml", "only: three\nm: {d: 4}\n");
  const auto file = folder.write("main.yaml", "l: [9]\nbase: [common/two.yaml, three.yaml]\nm:\n  c: 300\n");
  const ConfigNode root = load_config(file);
  CHECK(to_yaml(root) == "m:\n  a: 1\n  b: 20\n  c: 300\n  d: 4\nl: [9]\nonly: three\n");
  CHECK(root.find("m")->find("c")->mark().text() == file.string() + ":4:6");
  CHECK(root.find("m")->find("b")->mark().text() == (folder.path() / "common/two.yaml").string() + ":2:8");
  CHECK(root.find("base") == nullptr);
  CHECK(load_config(folder.write("empty.yaml", "# nothing\n")).is_map());
}

TEST_CASE("load_config: eight levels of base are read, nine and cycles are refused") {
  const Folder folder;
  folder.write("b8.yaml", "deepest: 8\n");
  for (int i = 7; i >= 0; --i)
    folder.write("b" + std::to_string(i) + ".yaml", "base: b" + std::to_string(i + 1) + ".yaml\n");
  CHECK(load_config(folder.path() / "b0.yaml").find("deepest")->text() == "8");
  folder.write("top.yaml", "# nine below\nbase: b0.yaml\n");
  const std::string deep = config_error([&] { load_config(folder.path() / "top.yaml"); });
  CHECK(has(deep, "b7.yaml:1:7: error: more than 8 levels of `base:`"));

  folder.write("x.yaml", "a: 1\nbase: sub/y.yaml\n");
  folder.write("sub/y.yaml", "base: [../x.yaml]\n");
  const std::string cycle = config_error([&] { load_config(folder.path() / "x.yaml"); });
  CHECK(has(cycle, "y.yaml:1:8: error: "));
  CHECK(has(cycle, "is its own base: x.yaml -> y.yaml -> x.yaml"));
  const auto self = folder.write("self.yaml", "base: self.yaml\n");
  CHECK(has(config_error([&] { load_config(self); }), "its own base"));
}

TEST_CASE("load_config: files that multiply are refused") {
  const Folder folder;
  for (int i = 0; i < 8; ++i) {
    std::string names;
    for (int k = 0; k < 20; ++k) names += "f" + std::to_string(i + 1) + ".yaml, ";
    folder.write("f" + std::to_string(i) + ".yaml", "base: [" + names + "]\n");
  }
  folder.write("f8.yaml", "a: 1\n");
  CHECK(has(config_error([&] { load_config(folder.path() / "f0.yaml"); }), "more than 64 files"));
}

TEST_CASE("load_config: missing files, folders and wrong kinds are named") {
  const Folder folder;
  const auto error = [&](std::string_view text) {
    const auto file = folder.write("m.yaml", text);
    return config_error([&] { load_config(file); });
  };
  CHECK(has(error("a: 1\nbase: gone.yaml\n"), "m.yaml:2:7: error: the base `"));
  CHECK(has(error("base: gone.yaml\n"), "No such file"));
  CHECK(has(error("base: .\n"), "it is a folder"));
  CHECK(has(error("base: {a: 1}\n"), "m.yaml:1:1: error: `base` must be a file, or a list of files"));
  CHECK(has(error("base:\n"), "`base` must be a file"));
  CHECK(has(error("base: [[a]]\n"), "`base` must be a file"));
  CHECK(has(error("base: ''\n"), "`base` must be a file"));
  CHECK(has(error("- a\n- b\n"), "m.yaml:1:1: error: a configuration is a map"));
  CHECK(has(error("hello\n"), "a configuration is a map"));
  CHECK(has(error(std::string(3 << 20, ' ')), "longer than"));
  CHECK(error("base: []\na: 1\n") == "");
  CHECK(
      has(config_error([&] { load_config(folder.path() / "none.yaml"); }), "none.yaml` cannot be read: No such file"));
  CHECK(has(config_error([&] { load_config(folder.path()); }), "it is a folder"));
}

TEST_CASE("merge: maps merge deeply, every other pair is replaced") {
  const auto merged = [](std::string_view under, std::string_view over) {
    return to_flow_yaml(merge(parse_config(under, "u"), parse_config(over, "o")));
  };
  CHECK(merged("{a: {b: 1, c: 2}}", "{a: {c: 3, d: 4}, e: 5}") == "{a: {b: 1, c: 3, d: 4}, e: 5}");
  CHECK(merged("{a: {b: 1}}", "{a: 2}") == "{a: 2}");
  CHECK(merged("{a: 2}", "{a: {b: 1}}") == "{a: {b: 1}}");
  CHECK(merged("{a: [1, 2]}", "{a: [3]}") == "{a: [3]}");
  CHECK(merged("{a: 1}", "{a: ~}") == "{a: null}");
  // Of another type: what stood beside the old one was the old one's.
  CHECK(merged("{ffn: {type: moe, experts: 8, expand: 2}}", "{ffn: {type: mlp}}") == "{ffn: {type: mlp}}");
  CHECK(merged("{ffn: {type: moe, experts: 8}}", "{ffn: {type: moe, top_k: 1}}") ==
        "{ffn: {type: moe, experts: 8, top_k: 1}}");
  CHECK(merged("{ffn: {type: moe, experts: 8}}", "{ffn: {experts: 4}}") == "{ffn: {type: moe, experts: 4}}");
  CHECK(merged("{ffn: {experts: 8}}", "{ffn: {type: moe}}") == "{ffn: {experts: 8, type: moe}}");
  CHECK(merged("{a: {mixer: {type: gla, heads: 2}, d: 1}}", "{a: {mixer: {type: gru}}}") ==
        "{a: {mixer: {type: gru}, d: 1}}");
  // Of two horizons the nearer one stands.
  CHECK(merged("{train: {max_tokens: 5, batch: 2}}", "{train: {max_flops: 3}}") == "{train: {batch: 2, max_flops: 3}}");
  CHECK(merged("{train: {max_tokens: 5}}", "{train: {batch: 2}}") == "{train: {max_tokens: 5, batch: 2}}");
  CHECK(merged("{train: {max_tokens: 5}}", "{train: {max_tokens: 6}}") == "{train: {max_tokens: 6}}");
  CHECK(merged("{train: {batch: 2}}", "{train: {max_steps: 5, max_time: 3}}") ==
        "{train: {batch: 2, max_steps: 5, max_time: 3}}");  // which is refused later
  CHECK(merged("{model: {max_tokens: 5}}", "{model: {max_steps: 3}}") == "{model: {max_tokens: 5, max_steps: 3}}");
  // Sections whose keys belong to all types, and what is inside them.
  CHECK(merged("{optim: {type: adamw, lr: 1, schedule: {type: cosine, warmup: 5}}}",
               "{optim: {type: muon, schedule: {type: constant}}}") ==
        "{optim: {type: muon, lr: 1, schedule: {type: constant, warmup: 5}}}");
  CHECK(merged("{block: {type: mod, ffn: {type: moe, experts: 8}}}", "{block: {type: residual, ffn: {type: mlp}}}") ==
        "{block: {type: residual, ffn: {type: mlp}}}");
}

}  // namespace
}  // namespace effllm
