// A small world for the program: a corpus that it made itself, and a configuration.
#pragma once
#include <doctest/doctest.h>

#include "support/command.h"
#include "support/paths.h"

namespace effllm::test {

struct World {
  TempFolder scratch{"cli"};
  Surroundings in;

  World() {
    in.folder = scratch.path;
    std::string text;
    for (int i = 0; i < 700; ++i)
      text += "line " + std::to_string(i * 7919 % 1000) + ": the quick brown fox counts to " + std::to_string(i % 13) +
              ".\n";
    spill(scratch.path / "own.txt", text);
    const Ended made = effllm({"data", "prepare", "own.txt", "--name", "own"});
    REQUIRE_MESSAGE(made.code == 0, made.err);
    configure("{type: attention, heads: 2, window: 9}");
  }
  // A hybrid of every mixer, with dropout.
  void configure(const std::string& last_mixer) const {
    spill(
        scratch.path / "tiny.yaml",
        "name: tiny\n"
        "model:\n"
        "  d_model: 16\n"
        "  dropout: 0.1\n"
        "  block: {norm: rms_norm, ffn: {type: swiglu, expand: 2}}\n"
        "  layers:\n"
        "    - mixer: {type: min_gru, conv: 3}\n"
        "    - mixer: {type: gla, heads: 2, gate_rank: 4}\n"
        "    - mixer: " +
            last_mixer +
            "\n"
            "data: {corpus: own, tokenizer: char}\n"
            "optim: {lr: 3e-3, schedule: {warmup: 5}}\n"
            "train: {batch: 8, context: 24, max_steps: 100, lanes: 4, shard_tokens: 48, save_every: 20, log_every: 5}\n"
            "eval: {sample_tokens: 20}\n");
  }
  Words command(const Words& args) const { return with({kBinary}, args); }
  Ended effllm(const Words& args, const Surroundings* other = nullptr) const {
    return run_command(command(args), other ? *other : in);
  }
  // The same, which must end with this code and say these texts.
  Ended ends(const Words& args, int code, const Words& says = {}, const Surroundings* other = nullptr) const {
    Ended r = effllm(args, other);
    std::string line;
    for (const auto& a : args) line += a + " ";
    INFO(line, "\n", r.err);
    CHECK(r.code == code);
    for (const auto& text : says) CHECK_MESSAGE(r.says(text), text);
    return r;
  }
  Ended ok(const Words& args, const Surroundings* other = nullptr) const {
    Ended r = ends(args, 0, {}, other);
    REQUIRE(r.code == 0);
    return r;
  }
  // SHA-256 of the parameters in a checkpoint's metadata.
  std::string parameters_of(const std::string& checkpoint) const {
    return json_value(slurp(scratch.path / checkpoint).substr(0, 100000), "parameters_sha256");
  }
};

}  // namespace effllm::test
