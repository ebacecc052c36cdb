// What a study says, before its base is looked at.
#include "sweep/study.h"

#include <doctest/doctest.h>

#include "store/temp_folder.h"

using namespace effllm;

namespace {

Study read(const std::string& text) {
  const TempFolder folder("study");
  return read_study(folder.put("study.yaml", text));
}

std::string wrong(const std::string& text) {
  return message_of<ConfigError>([&] { read(text); });
}

std::vector<std::string> names(const Study& s) {
  std::vector<std::string> all;
  for (const StudyArm& a : s.arms) all.push_back(a.name);
  return all;
}

}  // namespace

TEST_CASE("study: arms by name, with overrides as --set takes them") {
  const Study s = read(
      "base: ../tiny.yaml\n"
      "arms:\n"
      "  plain:\n"
      "  wide: {model.d_model: 32, ~optim.schedule: }\n"
      "seeds: 2\n"
      "tune: {optim.lr: [1e-3, 2e-3]}\n"
      "match: {what: params, to: plain}\n");
  CHECK(s.name == "study");
  CHECK(s.base.filename() == "tiny.yaml");
  CHECK(names(s) == std::vector<std::string>{"plain", "wide"});
  REQUIRE(s.arms[1].overrides.size() == 2);
  CHECK(s.arms[1].overrides[1].path == "~optim.schedule");
  CHECK(s.seeds == 2);
  CHECK(s.tune.size() == 1);
  CHECK(s.match->step == 8);
  CHECK(s.eval.split == "test");
  ConfigNode root = parse_config("optim: {lr: 1, schedule: cosine}\nmodel: {layers: [{mixer: gru}]}", "base");
  for (const auto& o : s.arms[1].overrides) assign(root, o);
  assign(root, {"model.layers[0].mixer", mechanism("gla"), {}});
  CHECK(to_flow_yaml(root) == "{optim: {lr: 1}, model: {layers: [{mixer: {type: gla}}], d_model: 32}}");
  CHECK(has(message_of<ConfigError>([&] {
              assign(root, {"model.layers[7].mixer", mechanism("gla"), s.arms[1].overrides[0].mark});
            }),
            "study.yaml:4:"));
}

TEST_CASE("study: grids and lists name their arms by what they change") {
  CHECK(names(read("base: b.yaml\ngrid: {model.d_model: [64, 128], optim.weight_decay: [0, 0.1]}\n")) ==
        std::vector<std::string>{"d_model-64+weight_decay-0", "d_model-64+weight_decay-0.1",
                                 "d_model-128+weight_decay-0", "d_model-128+weight_decay-0.1"});
  CHECK(names(read("base: b.yaml\nlist:\n- {}\n- {optim.type: muon}\n- {\"model.layers[0].mixer\": {type: gru}}\n- "
                   "{a.x: 1, b.x: 2}\n")) == std::vector<std::string>{"base", "type-muon", "mixer-gru", "a_x-1+b_x-2"});
}

TEST_CASE("study: what is wrong is told with its place, several at once") {
  const std::string all = wrong(
      "base: b.yaml\n"
      "arms:\n"
      "  plain: {train.seed: 3}\n"
      "  'no/folder': {}\n"
      "seedz: 3\n"
      "tune: {optim.lr: 1e-3}\n"
      "match: {what: size, to: 5}\n"
      "eval: {split: dev}\n");
  for (const char* part :
       {"study.yaml:3:11: error: `train.seed` is the study's", "study.yaml:4:3: error: the name `no/folder`",
        "study.yaml:5:1: error: the study has no option `seedz`. Did you mean `seeds`?",
        "study.yaml:6:8: error: `optim.lr` of `tune` needs a list", "study.yaml:7:", "study.yaml:8:"})
    CHECK_MESSAGE(has(all, part), all);
  const std::string both = "base: b.yaml\narms: {a: {optim.lr: 1e-2}, b: }\ntune: {optim.lr: [1e-3, 3e-3]}\n";
  CHECK(has(wrong(both), "study.yaml:2:12: error: arm a sets optim.lr, which `tune` chooses"));
  CHECK(has(wrong("base: b.yaml\n"), "by one of `arms`, `grid` and `list`"));
  CHECK(has(wrong("base: b.yaml\narms: {a: }\ngrid: {x: [1]}\n"), "by one of"));
  CHECK(has(wrong("arms: {a: }\n"), "needs `base`"));
  CHECK(has(wrong("base: b.yaml\narms: {a: }\ntune: {optim.lr: [1, 1]}\n"), "two values that are called 1"));
  CHECK(has(wrong("base: b.yaml\nlist: [{a: 1}, {a: 1}]\n"), "two arms are called a-1"));
  CHECK(has(wrong("base: b.yaml\narms: {a: }\nmatch: {what: params}\n"), "needs `what` and `to`"));
  CHECK(has(message_of<ConfigError>([] { read_study("nowhere.yaml"); }), "the study can't be read: "));
  CHECK(has(wrong("# nothing\n"), "study.yaml: the study is empty: it needs `base` and one of"));
  const std::string bad = wrong("name: a/b\nbase: b.yaml\narms: {-x: , a: }\n");
  CHECK(has(bad, "study.yaml:1:7: error: the name `a/b` can't be a folder"));
  CHECK(has(bad, "study.yaml:3:8: error: the name `-x` can't be a folder: letters, digits and ._-+ only"));
  CHECK(bad.find("`-x`") == bad.rfind("`-x`"));  // told once
  CHECK(has(wrong("base: b.yaml\narms: {" + std::string(101, 'a') + ": }\n"), "is too long for a folder"));
}
