#include "train/run_config.h"

#include <doctest/doctest.h>

#include <regex>
#include <vector>

#include "config/expect.h"
#include "mixers/mixer.h"

using namespace effllm;
using effllm::testing::config_error;

namespace {

const std::string kModel = "model: {d_model: 16, layers: [{mixer: {type: min_gru}}]}\n";
const std::string kMinimal = kModel + "train: {max_steps: 10}\n";

RunConfig read_run(const std::string& yaml, const char* file = "exp/tiny.yaml") {
  return read_run_config(parse_config(yaml, "c.yaml"), file);
}
std::string error_of(const std::string& yaml) {
  return config_error([&] { read_run(yaml); });
}

size_t errors_in(const std::string& message) {
  size_t errors = 0;
  for (size_t at = message.find("error:"); at != message.npos; at = message.find("error:", at + 1)) ++errors;
  return errors;
}

// Plain scalars below `node`.
void collect(const ConfigNode& node, std::vector<std::string>& texts) {
  if (node.is_scalar() && !node.quoted()) texts.push_back(node.text());
  for (const ConfigNode& item : node.items()) collect(item, texts);
  for (const auto& entry : node.entries()) collect(entry.value, texts);
}

}  // namespace

TEST_CASE("run config: what isn't said has defaults, the name is the file's") {
  const RunConfig c = read_run(kMinimal);
  CHECK(c.name == "tiny");
  CHECK(c.folder == "exp");
  CHECK(c.data.corpus == "kjv");
  CHECK(c.train.batch == 16);
  CHECK(c.model.max_tokens == 256);
  CHECK(c.schedule.type.name() == "cosine");
  CHECK(c.optim.lr == 1e-3);
  CHECK(read_run("name: other\n" + kMinimal).name == "other");
  CHECK(read_run(kMinimal, "").name == "run");
}

TEST_CASE("run config: exactly one horizon") {
  for (const char* train : {"{}", "{max_steps: 5, max_time: 3}", "{max_epochs: 1, max_steps: x}",
                            "{max_tokens: 5, max_flops: 3, max_steps: 1}"}) {
    const std::string message = error_of(kModel + "train: " + train + "\n");
    INFO(message);
    CHECK(has(message, "c.yaml:2:8"));
    CHECK(has(message, "exactly one of max_steps, max_tokens, max_epochs, max_flops, max_time"));
  }
  CHECK(has(error_of(kModel), "exactly one"));
  const auto done = [](const char* train) {
    return read_run(kModel + "train: " + train + "\n")
        .train.progress({.steps = 5, .tokens = 200, .epochs = 0.75, .flops = 3e6, .seconds = 8});
  };
  CHECK(done("{max_steps: 10}") == 0.5);
  CHECK(done("{max_tokens: 1000}") == 0.2);
  CHECK(done("{max_epochs: 3}") == 0.25);
  CHECK(done("{max_flops: 6e6}") == 0.5);
  CHECK(done("{max_time: 32}") == 0.25);
}

TEST_CASE("run config: a value that cannot be read is one error, not two") {
  for (const char* rest : {"train: {max_steps: 1e3}\n", "train: {max_epochs: many}\n", "train: {max_step: 10}\n",
                           "train: [1]\n", "train: {max_steps: 9, carry_state: true}\ndata: {order: stream}\n",
                           "train: {max_steps: 9}\neval: {protocol: slide, stride: 4}\n",
                           "train: {max_steps: 9}\neval: {protocol: sliding, tokens: 1e3, stride: 400}\n",
                           "train: {max_steps: 9, context: 5_12}\neval: {protocol: sliding, stride: 400}\n"}) {
    const std::string message = error_of(kModel + rest);
    INFO(message);
    CHECK(errors_in(message) == 1);
  }
  for (const char* rest :
       {"train: {max_steps: 9, context: 1_00}\n", "train: {max_steps: 9, context: 100}\neval: {protocol: carry}\n",
        "train: {max_steps: 9, context: 100}\neval: {tokens: 1e3}\n"}) {
    const std::string message =
        error_of(std::string("model: {positions: learned, max_tokens: 128, layers: [{mixer: gla}]}\n") + rest);
    INFO(message);
    CHECK(errors_in(message) == 1);
  }
}

TEST_CASE("run config: what doesn't go together is an error with its place") {
  struct Case {
    std::string yaml;
    std::vector<const char*> parts;
  };
  const std::string learned = "model: {positions: learned, max_tokens: 300, layers: [{mixer: gla}]}\n";
  const auto encoder_of = [](const std::string& more) {
    return "model: {" + more +
           "d_model: 16, layers: [{mixer: min_gru, cross: attention}], encoder: {layers: [{mixer: "
           "attention}]}}\ntrain: "
           "{max_steps: 1, context: 40}\n";
  };
  const Case cases[] = {
      {kModel + "train: {max_steps: 1, carry_state: true}\n", {"c.yaml:2:8", "carry_state", "streams"}},
      {kModel + "train: {max_steps: 1}\neval: {stride: 4}\n",
       {"c.yaml:3:8", "eval.stride belongs to protocol: sliding"}},
      {kModel + "train: {max_steps: 1}\neval: {protocol: sliding, tokens: 8, stride: 9}\n",
       {"c.yaml:3:7", "a stride of 9 skips targets"}},
      {kModel + "train: {max_steps: 1}\nobjective: {type: goldfish, mask: static, context_width: 4}\neval: {protocol: "
                "sliding, tokens: 8, stride: 9}\n",
       {"c.yaml:3:12", "context_width belongs to mask: hashed", "a stride of 9 skips targets"}},
      {"name: a/b\n" + kMinimal, {"c.yaml:1:7", "`a/b`", "folder"}},
      {"name: .hidden\n" + kMinimal, {"c.yaml:1:7", "`.hidden`"}},
      {"name: -rf\n" + kMinimal, {"c.yaml:1:7", "`-rf`"}},
      {kMinimal + "optim: {groups: [{lr: 1}]}\n", {"c.yaml:3:18", "needs a `match`"}},
      {kMinimal + "optim: {groups: [{match: a, decay: 1}]}\n", {"c.yaml:3:29", "`decay`"}},
      {kMinimal + "optim: {schedule: {warm_up: 3}}\n", {"c.yaml:3:20", "`warm_up`", "`warmup`"}},
      {kMinimal + "optim: {type: sgd}\n", {"c.yaml:3:15", "sgd", "adamw"}},
      {kMinimal + "optim: {type: muno, momentum: 0.9}\n", {"c.yaml:3:15", "`muno`", "Did you mean `muon`?"}},
      {kMinimal + "optim: {momentum: 0.9}\n", {"c.yaml:3:9", "optim.momentum belongs to type: muon"}},
      {kMinimal + "optim: {type: muon, momentun: 0.9}\n", {"c.yaml:3:21", "Did you mean `momentum`?"}},
      {kMinimal + "objective: {type: next}\n", {"c.yaml:3:19", "next_token"}},
      {kMinimal + "data: {order: shuffled}\n", {"c.yaml:3:15", "shuffled_windows"}},
      {kMinimal + "dta: {}\n", {"c.yaml:3:1", "`dta`", "`data`"}},
      {"version: 3\n" + kMinimal, {"c.yaml:1:10", "version"}},
      {kModel + "train: {max_steps: 0}\n", {"c.yaml:2:20", "at least 1"}},
      {kModel + "train: {max_steps: 1.5}\n", {"c.yaml:2:20", "integer"}},
      {kModel + "train: {max_steps: 1, keep: 1}\n", {"c.yaml:2:29", "at least 2"}},
      {kModel + "train: {max_steps: 1, nonfinite: ignore}\n", {"c.yaml:2:34", "skip, abort"}},
      {kModel + "train: [1]\n", {"c.yaml:2:8"}},
      {learned + "train: {max_steps: 1}\neval: {protocol: carried}\n", {"c.yaml:3:7", "learned positions"}},
      {learned + "train: {max_steps: 1}\neval: {tokens: 301}\n", {"c.yaml:3:7", "301", "300"}},
      {learned + "train: {max_steps: 1, carry_state: true}\ndata: {order: streams}\n", {"c.yaml:2:8", "learned"}},
      {learned + "train: {max_steps: 1, context: 400}\n", {"max_tokens is 300", "400"}},
      {"model: {layers: [{mixer: {type: parallel, branches: [gla, bidirectional]}}]}\ntrain: {max_steps: 1}\n",
       {"c.yaml:1:59", "next_token needs causal mixers", "`bidirectional`"}},
      {kModel + "train: {max_steps: 1, carry_state: true}\nobjective: {type: masked_diffusion}\ndata: {order: "
                "streams}\neval: "
                "{protocol: carried}\n",
       {"c.yaml:1:39", "write {type: bidirectional, of: min_gru}", "c.yaml:2:8",
        "train.carry_state: masked_diffusion sees", "c.yaml:5:7", "eval.protocol: carried needs a causal objective"}},
      {kMinimal + "eval: {bound_samples: 4}\n",
       {"c.yaml:3:23", "eval.bound_samples: next_token has a likelihood, and no bound"}},
      {kMinimal + "objective: {type: masked_diffusion, eps: 0.6}\n", {"c.yaml:3:42", "0 to 0.5"}},
      {kMinimal + "objective: {type: goldfish, eps: 0.1}\n", {"c.yaml:3:29", "eps"}},
      {"train: {max_steps: 1}\n", {"no `model`"}},
      {encoder_of("") + "objective: {type: span_corruption}\neval:\n  protocol: sliding\n",
       {"c.yaml:5:13", "eval.protocol: sliding has windows that overlap"}},
      // Of 40 tokens 39 are taken out, and one more sentinel than spans is written.
      {encoder_of("positions: learned, ") + "objective: {type: span_corruption, rate: 1, mean_span: 39}\n",
       {"c.yaml:1:8", "train.context is 40, of which the encoder reads 2 and the decoder 41",
        "learned positions for 40: give model.max_tokens 41, or take at most 39 tokens"}},
      {encoder_of("positions: learned, ") + "objective: {type: seq2seq}\neval: {tokens: 80}\n",
       {"c.yaml:4:16", "eval.tokens is 80, of which the encoder reads 40 and the decoder 41"}},
  };
  // Parts of a row have positions of their own.
  CHECK(error_of(encoder_of("positions: learned, max_tokens: 21, ") + "objective: {type: seq2seq}\n").empty());
  for (const Case& c : cases) {
    const std::string message = error_of(c.yaml);
    INFO(c.yaml << message);
    CHECK_FALSE(message.empty());
    for (const char* part : c.parts) CHECK(has(message, part));
  }
}

TEST_CASE("run config: an optimizer that there is not is one error, its keys none") {
  const std::string message = error_of(kMinimal + "optim: {type: muno, momentum: 0.9, iterations: 3}\n");
  CHECK(has(message, "`muno`"));
  for (const char* key : {"no option", "`momentum`", "iterations`"}) CHECK_FALSE(has(message, key));
}

TEST_CASE("run config: errors of all sections are reported at once") {
  const std::string message = error_of(
      "name: a b\n"
      "model: {layers: [{mixer: {type: atention}}]}\n"
      "data: {tokeniser: byte}\n"
      "optim: {lr: fast}\n"
      "train: {batch: -1, max_step: 10}\n"
      "eval: {split: validation}\n");
  INFO(message);
  for (const char* part : {"c.yaml:1:7", "c.yaml:2:33", "`attention`", "c.yaml:3:8", "`tokenizer`", "c.yaml:4:13",
                           "c.yaml:5:16", "c.yaml:5:20", "`max_steps`", "c.yaml:6:15", "train, val, test"})
    CHECK(has(message, part));
}

TEST_CASE("run config: numbers of the resolved text are numbers for readers of YAML 1.1, floats are floats") {
  const std::regex number(R"([-+]?([0-9]+|[0-9]+\.[0-9]*([eE][-+][0-9]+)?))");  // as PyYAML resolves them
  const std::regex digit_first(R"([-+.]?[0-9].*)");
  for (const LayerInfo* info : all_mixers) {
    if (info->family == "composite") continue;
    const std::string name(info->name);
    CAPTURE(name);
    const RunConfig c = read_run_config(
        parse_config("model: {d_model: 64, dropout: 0, layers: [{mixer: {type: " + name +
                         "}, ffn: mlp}]}\noptim: {lr: 1e-5, eps: 1e-20, beta1: 0, groups: [{match: '*', lr: 1e-9}]}\n"
                         "train: {max_flops: 1e22}\n",
                     "c.yaml"));
    const ConfigNode written = write_run_config(c);
    std::vector<std::string> texts;
    collect(written, texts);
    size_t numbers = 0;
    for (const std::string& text : texts)
      if (std::regex_match(text, digit_first)) {
        INFO(text);
        CHECK(std::regex_match(text, number));
        ++numbers;
      }
    CHECK(numbers > 20);
    const std::string text = to_yaml(written);
    for (const char* line : {"  dropout: 0.0\n", "  lr: 1.0e-05\n", "  eps: 1.0e-20\n", "  beta1: 0.0\n",
                             "lr: 1.0e-09\n", "  max_flops: 1.0e+22\n", "  d_model: 64\n"})
      CHECK_MESSAGE(has(text, line), text);
  }
}

TEST_CASE("run config: the resolved text read again gives the same text") {
  for (const std::string& yaml :
       {kMinimal,
        std::string(
            "name: \"007\"\nmodel: {d_model: 8, layers: [{repeat: 2, of: [{mixer: gla, ffn: mlp}]}]}\n"
            "data: {corpus: x, tokenizer: char, order: streams, reset: document, seed: 5}\n"
            "optim: {lr: 3e-3, beta2: 0.95, schedule: {type: constant, warmup: 7}, groups: [{match: '*.bias', lr: "
            "1e-4}, {match: '*', weight_decay: 0}]}\n"
            "train: {batch: 3, context: 17, max_time: 1.5, lanes: 3, save_every: 4}\n"
            "eval: {protocol: sliding, tokens: 16, stride: 3, prompt: \"line\\n: # '\\t\", temperature: 0}\n")}) {
    const RunConfig first = read_run(yaml);
    const std::string text = to_yaml(write_run_config(first));
    const RunConfig second = read_run_config(parse_config(text, "resolved"));
    CHECK(to_yaml(write_run_config(second)) == text);
    CHECK(second.name == first.name);
    CHECK(second.eval.prompt == first.eval.prompt);
    CHECK(second.groups.size() == first.groups.size());
    CHECK(experiment_hash(second) == experiment_hash(first));
  }
}

TEST_CASE("run config: the hash is that of runs before options that came later") {
  const auto hash = [](const std::string& mixer, const std::string& norm) {
    return experiment_hash(read_run_config(
        parse_config("model: {d_model: 16, layers: [{mixer: {type: attention" + mixer + "}, norm: {type: layer_norm" +
                         norm + (norm.starts_with("}") ? "" : "}") +
                         ", ffn: mlp}]}\ndata: {corpus: data/tiny.yaml}\noptim: {lr: 0.01}\ntrain: {batch: " +
                         "4, context: 16, max_steps: 1, lanes: 2}",
                     "c.yaml"),
        "c.yaml"));
  };
  const std::string before = "dfaf8c5e18bff1922d24ddcd5b66353548012c6300180c6908ba4103cf7ceb4c";
  CHECK(hash("", "") == before);
  CHECK(hash(", rope_share: 1, projection: linear", ", weight: true") == before);
  CHECK(hash("", "}, norm_at: before, parallel: false") == before);
  CHECK(hash("", "}, parallel: true") != before);
  CHECK(hash(", rope_share: 0.5", "") != before);
  CHECK(hash(", projection: pattention", "") != before);
  CHECK(hash("", ", weight: false") != before);
}

TEST_CASE("run config: the hash of the experiment sees what decides the numbers, and nothing else") {
  const std::string base = experiment_hash(read_run(kMinimal));
  const auto with = [](const char* key, const char* value) {
    ConfigNode root = parse_config(kMinimal, "c.yaml");
    apply_override(root, std::string(key) + "=" + value, 1);
    return experiment_hash(read_run_config(root, "tiny.yaml"));
  };
  for (auto [key, value] : std::vector<std::pair<const char*, const char*>>{{"name", "other"},
                                                                            {"train.max_steps", "20"},
                                                                            {"train.log_every", "3"},
                                                                            {"train.save_every", "3"},
                                                                            {"train.save_seconds", "3"},
                                                                            {"train.keep", "9"},
                                                                            {"eval.max_tokens", "100"}})
    CHECK(with(key, value) == base);
  for (auto [key, value] : std::vector<std::pair<const char*, const char*>>{{"train.seed", "2"},
                                                                            {"data.seed", "2"},
                                                                            {"optim.lr", "0.01"},
                                                                            {"optim.schedule", "{warmup: 5}"},
                                                                            {"train.lanes", "4"},
                                                                            {"model.d_model", "32"},
                                                                            {"data.corpus", "other"}})
    CHECK(with(key, value) != base);
  // The same corpus by its path, as a run that is resumed names it.
  CHECK(with("data.corpus", "/texts/other.yaml") == with("data.corpus", "other"));
}
