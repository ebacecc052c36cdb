#include "config/options.h"

#include <cstdlib>

#include "config/expect.h"

namespace effllm {
namespace {

using testing::config_error;
using testing::same_tree;

struct Sample : Options {
  bool bias = false;
  int64_t n_heads = 4;
  double lr = 3e-4;
  std::optional<int64_t> window;
  std::optional<double> clip;
  std::string kind = "softmax", folder = "data";
  std::vector<std::string> words = {"a", "1"};
  std::vector<int64_t> sizes = {1, 2};
  std::vector<double> betas = {0.9, 0.95};
  ConfigNode inner;
  std::vector<ConfigNode> parts;

  void visit(OptionVisitor& v) override {
    v("bias", bias, "adds a bias");
    v("n_heads", n_heads, "heads", at_least(1));
    v("lr", lr, "step size", between(0, 1));
    v("window", window, "positions seen", at_least(1));
    v("clip", clip, "largest norm", at_least(0));
    v("kind", kind, "which normaliser", {"softmax", "sigmoid"});
    v("folder", folder, "where data is");
    v("words", words, "some words");
    v("sizes", sizes, "some sizes", between(0, 9));
    v("betas", betas, "some factors", between(0, 1));
    v("inner", inner, "a mechanism");
    v("parts", parts, "several");
  }
};

// `sample` after reading `text`, or the errors.
Sample sample_of(std::string_view text) {
  Sample sample;
  read(sample, parse_config(text, "f"), "mixer `gla`");
  return sample;
}
std::string refusal(std::string_view text) {
  return config_error([&] { sample_of(text); });
}

TEST_CASE("options: every kind of field is read") {
  const Sample s = sample_of(
      "{type: gla, bias: true, n_heads: 8, lr: 3e-2, window: 16, clip: 1, kind: sigmoid, folder: '12', words: [x, 2],"
      " sizes: [], betas: [0, 1.0], inner: {type: a}, parts: [{type: b}, {type: c}]}");
  CHECK(s.bias);
  CHECK(s.n_heads == 8);
  CHECK(s.lr == 3e-2);
  CHECK(s.window == 16);
  CHECK(s.clip == 1.0);
  CHECK(s.kind == "sigmoid");
  CHECK(s.folder == "12");
  CHECK(s.words == std::vector<std::string>{"x", "2"});
  CHECK(s.sizes.empty());
  CHECK(s.betas == std::vector<double>{0, 1});
  CHECK(s.inner.type() == "a");
  CHECK(s.parts[1].type() == "c");
  CHECK(s.mark.text() == "f:1:1");
  CHECK(sample_of("").n_heads == 4);
  CHECK(!sample_of("{}").window);
}

TEST_CASE("options: what is written is read back and written as the same text") {
  Sample defaults;
  const std::string text = to_yaml(write(defaults));
  CHECK(text ==
        "bias: false\nn_heads: 4\nlr: 0.0003\nkind: softmax\nfolder: data\nwords: [a, \"1\"]\nsizes: [1, 2]\n"
        "betas: [0.9, 0.95]\nparts: []\n");
  Sample odd =
      sample_of("{lr: 1e-7, clip: 1e300, window: 9223372036854775807, folder: 'null', words: ['', \"a\\tb\"]}");
  odd.inner = parse_config("{type: gla, lr: 3e-3}", "g");
  odd.parts = {odd.inner, odd.inner};
  const std::string odd_text = to_yaml(write(odd));
  CAPTURE(odd_text);
  Sample again = sample_of(odd_text);
  CHECK(to_yaml(write(again)) == odd_text);
  CHECK(again.lr == odd.lr);
  CHECK(again.clip == 1e300);
  CHECK(again.window == std::numeric_limits<int64_t>::max());
  CHECK(again.words == odd.words);
  CHECK(again.folder == "null");
  CHECK(again.inner.find("lr")->text() == "3e-3");
}

TEST_CASE("options: numbers that a reader could take in two ways are refused") {
  for (std::string_view bad : {"010", "1e3", "1_000", "1.5", "0x10", "+3", "abc", "'4'", "\"4\"", "nan", "true",
                               "9223372036854775808", "[4]", "{a: 4}", "00", "-01", "1.0"}) {
    CAPTURE(bad);
    CHECK(has(refusal("n_heads: " + std::string(bad)), "f:1:10: error: `n_heads` must be an integer"));
  }
  for (std::string_view bad : {"nan", ".nan", "inf", "-inf", ".inf", "infinity", "0x1p3", "1e999", "1e-999", "1,5",
                               "0.5x", "'0.5'", "010", "1_0", "true", "--1", "+1", "[0.5]"}) {
    CAPTURE(bad);
    CHECK(has(refusal("lr: " + std::string(bad)), "f:1:5: error: `lr` must be a number"));
  }
  for (std::string_view good : {"3e-4", "1", "0.5", ".5", "1E-3", "0", "-0", "1e-300"}) {
    CAPTURE(good);
    CHECK(refusal("lr: " + std::string(good)) == "");
  }
  for (std::string_view bad : {"yes", "no", "on", "True", "1", "0", "'true'", "[true]"})
    CHECK(has(refusal("bias: " + std::string(bad)), "`bias` must be true or false, not"));
  CHECK(has(refusal("n_heads: \"4\""), "an integer such as 42, not the quoted text \"4\"; write 4"));
  CHECK(has(refusal("n_heads: 99999999999999999999"), "an integer such as 42 that 64 bits can hold"));
}

TEST_CASE("options: where it is clear what number was meant, how to write it is said") {
  for (const auto& [given, write] : std::vector<std::pair<std::string, std::string>>{{"1e3", "1000"},
                                                                                     {"1_000", "1000"},
                                                                                     {"1,000,000", "1000000"},
                                                                                     {"1'000", "1000"},
                                                                                     {"+5", "5"},
                                                                                     {"2.0", "2"},
                                                                                     {"1.5e3", "1500"},
                                                                                     {"-1e2", "-100"},
                                                                                     {"'7'", "7"}})
    CHECK(has(refusal("n_heads: " + given), "; write " + write + "\n"));
  for (const char* given : {"1.5", "010", "1,5", "1_", "_1", "1__0", "10,00", "1e30", "k", "1e-3", "0x10"})
    CHECK_FALSE(has(refusal(std::string("n_heads: ") + given), "; write"));
  CHECK(has(refusal("lr: +1e-3"), "not `+1e-3`; write 0.001\n"));
  CHECK(has(refusal("lr: 1_000.5"), "; write 1000.5\n"));
  CHECK(has(refusal("lr: '0.5'"), "; write 0.5\n"));
  CHECK_FALSE(has(refusal("lr: 1,5"), "; write"));
  CHECK(has(refusal("bias: yes"), "`bias` must be true or false, not `yes`; write true\n"));
  CHECK(has(refusal("bias: Off"), "; write false\n"));
  CHECK_FALSE(has(refusal("bias: perhaps"), "; write"));
}

TEST_CASE("options: ranges, choices and kinds are named") {
  CHECK(has(refusal("n_heads: 0"), "f:1:10: error: `n_heads` must be at least 1, not `0`"));
  CHECK(has(refusal("lr: 1.5"), "`lr` must be in the range 0 to 1, not `1.5`"));
  CHECK(has(refusal("window: 0"), "`window` must be at least 1"));
  CHECK(has(refusal("clip: -1"), "`clip` must be at least 0"));
  CHECK(has(refusal("sizes: [1, 10]"), "f:1:12: error: `sizes[1]` must be in the range 0 to 9, not `10`"));
  CHECK(has(refusal("betas: [x]"), "`betas[0]` must be a number"));
  CHECK(has(refusal("words: [a, [b]]"), "`words[1]` must be a text, not a list"));
  CHECK(has(refusal("words: [a, ~]"), "f:1:12: error: `words[1]` must be a text, not nothing"));
  CHECK(has(refusal("words: a"), "`words` must be a list such as [a, b], not `a`"));
  CHECK(has(refusal("parts: {type: a}"), "`parts` must be a list such as [a, b], not a map"));
  CHECK(
      has(refusal("kind: sigmoyd"), "`kind` must be one of softmax, sigmoid, not `sigmoyd`. Did you mean `sigmoid`?"));
  CHECK(has(refusal("kind: [a]"), "`kind` must be a text, not a list"));
  CHECK(has(refusal("[a]"), "f:1:1: error: mixer `gla` must be a map of options, not a list"));
  CHECK(has(refusal("hello"), "must be a map of options, not `hello`"));
}

TEST_CASE("options: a key without value is an error at the key") {
  for (std::string_view key :
       {"bias", "n_heads", "lr", "window", "clip", "kind", "folder", "words", "sizes", "betas", "inner", "parts"})
    for (std::string_view empty : {":", ": ~", ": null"}) {
      const std::string text = "type: gla\n" + std::string(key) + std::string(empty);
      CHECK(has(refusal(text), "f:2:1: error: `" + std::string(key) + "` has no value"));
    }
}

TEST_CASE("options: unknown keys are refused with a suggestion") {
  CHECK(refusal("n_heads: 2\nn_haeds: 3") ==
        "f:2:1: error: mixer `gla` has no option `n_haeds`. Did you mean `n_heads`?\n"
        "    2 | n_haeds: 3\n"
        "      | ^^^^^^^");
  CHECK(has(refusal("colour: red"), "no option `colour`. It has bias, n_heads, lr,"));
}

TEST_CASE("options: several errors are found in one pass, and good fields are still read") {
  Sample s;
  Diagnostics found;
  read(s, parse_config("bias: yes\nn_heads: 0\nlr: 0.5\nwindw: 3\nkind: x\n", "f"), "mixer `gla`", found);
  CHECK(s.lr == 0.5);
  CHECK(s.n_heads == 4);
  const std::string text = config_error([&] { found.throw_if_any(); });
  for (std::string_view place : {"f:1:7: error", "f:2:10: error", "f:4:1: error", "f:5:7: error"})
    CHECK(has(text, place));
}

TEST_CASE("options: a hundred thousand unknown keys are refused in time") {
  std::string text;
  for (int i = 0; i < 45'000; ++i) text += "wrong_key_" + std::to_string(i) + ": 1\n";
  CHECK(has(refusal(text), "and 44980 more errors"));
}

TEST_CASE("options: texts may hold environment variables, other fields may not") {
  ::setenv("EFFLLM_TEST_A", "/some where", 1);
  ::setenv("EFFLLM_TEST_BAD", "x${env:HOME}", 1);
  ::setenv("EFFLLM_TEST_BYTES", "\xFF", 1);
  ::setenv("EFFLLM_TEST_N", "8", 1);
  ::setenv("EFFLLM_TEST_KIND", "sigmoid", 1);
  ::unsetenv("EFFLLM_TEST_NONE");
  const auto folder = [](std::string_view text) { return sample_of("folder: '" + std::string(text) + "'").folder; };
  CHECK(folder("${env:EFFLLM_TEST_A}/x") == "/some where/x");
  CHECK(folder("a${env:EFFLLM_TEST_NONE,b, c}d${env:EFFLLM_TEST_NONE,}e") == "ab, cde");
  CHECK(folder("$x ${run_name} {env:A}") == "$x ${run_name} {env:A}");
  CHECK(sample_of("kind: ${env:EFFLLM_TEST_KIND}").kind == "sigmoid");
  CHECK(sample_of("words: ['${env:EFFLLM_TEST_A}']").words[0] == "/some where");
  CHECK(has(refusal("folder: ${env:EFFLLM_TEST_NONE}"),
            "f:1:9: error: `folder`: the environment variable `EFFLLM_TEST_NONE`"));
  for (std::string_view bad : {"${env:", "${env:}", "${env:,x}", "${env:A B}", "${env:A-B,c}"}) {
    CAPTURE(bad);
    CHECK(has(config_error([&] { folder(bad); }), "write ${env:NAME}"));
  }
  CHECK(has(refusal("folder: ${env:EFFLLM_TEST_BAD}"), "the value of `EFFLLM_TEST_BAD` holds"));
  CHECK(has(refusal("folder: ${env:EFFLLM_TEST_BYTES}"), "the value of `EFFLLM_TEST_BYTES` holds"));
  CHECK(has(refusal("n_heads: ${env:EFFLLM_TEST_N}"), "`n_heads` must be an integer"));
}

TEST_CASE("options: describe lists name, type, default, help and limits") {
  Sample s;
  const std::vector<OptionInfo> infos = describe(s);
  REQUIRE(infos.size() == 12);
  CHECK(infos[1].name == "n_heads");
  CHECK(infos[1].type == "int");
  CHECK(infos[1].value == "4");
  CHECK(infos[1].help == "heads");
  CHECK(infos[1].limits == "at least 1");
  CHECK(infos[2].value == "0.0003");
  CHECK(infos[2].limits == "0 to 1");
  CHECK(infos[3].type == "int, optional");
  CHECK(infos[3].value == "");
  CHECK(infos[5].limits == "softmax | sigmoid");
  CHECK(infos[7].value == "[a, \"1\"]");
  CHECK(describe(Range{}) == "");
  CHECK(describe(Range{.hi = 5}) == "at most 5");
}

}  // namespace
}  // namespace effllm
