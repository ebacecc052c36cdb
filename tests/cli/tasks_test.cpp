// A task in place of a corpus: what is said, kept and refused.
#include <cmath>

#include "cli/trained.h"
#include "store/hdf5_read.h"
#include "store/journal.h"
#include "store/run_folder.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

struct TaskWorld : World {
  explicit TaskWorld(const std::string& task = "{task: mqar, vocab: 16, pairs: [1, 2], length: 12, val_samples: 40}",
                     const std::string& mixer = "{type: min_gru}") {
    spill(scratch.path / "task.yaml",
          "name: run\n"
          "model: {d_model: 16, layers: [{mixer: " +
              mixer +
              "}]}\n"
              "data: " +
              task +
              "\n"
              "optim: {lr: 1e-2, schedule: {type: constant, warmup: 2}}\n"
              "train: {batch: 4, max_steps: 20, eval_every: 10, log_every: 5, save_every: 10}\n");
  }
  json read(const Words& words) const { return json::parse(ok(with(words, {"--json"})).out); }
};

}  // namespace

TEST_CASE("cli task: a run trains, says which samples, and its accuracy stands in journal, HDF5 and evaluation") {
  const TaskWorld w;
  const Ended r = w.ok({"train", "task.yaml"});
  CHECK(r.says("{type: mqar, pairs: [1, 2], length: 12, vocab: 16"));
  CHECK(r.says("have the SHA-256 "));
  CHECK(r.says("training samples without end of mqar"));
  CHECK(r.says("accuracy 0."));
  CHECK_FALSE(r.says("generate"));
  CHECK_FALSE(r.says("NaN"));
  const json val = w.read({"eval", "runs/run"});
  CHECK(val.at("text") == "symbols");
  CHECK(val.at("bits_per_byte").is_null());
  CHECK(val.at("bits_per_char").is_null());
  CHECK(val.at("bits_per_token").get<double>() ==
        doctest::Approx(val.at("nats_per_token").get<double>() / std::log(2.0)));
  CHECK(val.at("corpus") == "mqar");
  CHECK(has(val.at("data").at("task").get<std::string>(), "seed 1"));
  CHECK(val.at("samples") == 40);
  CHECK(val.at("by_length").size() == 1);
  CHECK(val.at("by_difficulty").at("of") == "pairs");
  REQUIRE(val.at("by_difficulty").at("rows").size() == 2);
  double right = 0;
  for (const json& row : val.at("by_difficulty").at("rows"))
    right += row.at("accuracy").get<double>() * row.at("tokens").get<double>();
  CHECK(right / val.at("tokens").get<double>() == doctest::Approx(val.at("accuracy").get<double>()));
  CHECK(val.at("guess_accuracy").get<double>() < 0.4);
  CHECK(val.at("baselines").empty());
  CHECK(val.at("left_out")[0].at("reason") == "samples of a task are no text");
  const effllm::RunFolder run(w.scratch.path / "runs/run");
  const effllm::JournalData rows = effllm::read_journal(run.journal());
  const auto* accuracy = rows.find("val")->find("accuracy");
  REQUIRE(accuracy);
  CHECK(accuracy->size() == 2);
  CHECK(accuracy->back() == val.at("accuracy").get<double>());
  CHECK(rows.find("val")->find("sample_accuracy"));
  for (const char* kind : {"train", "val"})
    for (const char* column : {"bpc", "bpb"}) CHECK_FALSE(rows.find(kind)->find(column));
  CHECK(effllm::read_hdf5_series(run.metrics(), "val/accuracy") == *accuracy);
  const Ended shown = w.ok({"eval", "runs/run", "--split", "test"});
  CHECK(shown.shows("a guess that reads nothing: "));
  CHECK(shown.shows("pairs"));
  CHECK_FALSE(shown.shows("bits/byte"));
  CHECK_FALSE(shown.shows("Kneser"));
  CHECK(w.ok({"runs"}).shows("mqar"));
}

TEST_CASE("cli task: stopped and resumed, in another batch or with more threads, it is the same run") {
  const TaskWorld w;
  w.ok({"train", "task.yaml", "--name", "whole", "--threads", "1"});
  w.ok(with({"train", "task.yaml", "--name", "part", "--threads", "2"}, sets({"train.max_steps=10"})));
  w.ok(with({"train", "task.yaml", "--name", "part", "--resume", "auto", "--threads", "2"},
            sets({"train.max_steps=20"})));
  const auto of = [&](const std::string& name) {
    return w.parameters_of("runs/" + name + "/ckpt/step_000000020.safetensors");
  };
  CHECK(!of("whole").empty());
  CHECK(of("whole") == of("part"));
  // From the run folder's own configuration too.
  w.ok(with({"train", "runs/part/config.resolved.yaml", "--resume", "auto"}, sets({"train.max_steps=24"})));
  for (const char* change : {"data.pairs=[1]", "data.seed=2", "data.val_samples=41"})
    w.ends(with({"train", "task.yaml", "--name", "part", "--resume", "auto"}, sets({change})), 3, {"the task was"});
  w.ends(with({"train", "task.yaml", "--name", "part", "--resume", "auto"}, sets({"~data", "data.corpus=own"})), 4,
         {"data.task: mqar"});
  w.ok(with({"train", "task.yaml", "--name", "part", "--resume", "auto", "--allow-data-mismatch"},
            sets({"data.pairs=[1]", "train.max_steps=30"})));
  CHECK(w.ok({"eval", "runs/part"}).says("trained on other data before"));
}

TEST_CASE("cli task: longer samples of a trained model are scored, where it can read them") {
  const TaskWorld w("{task: parity, length: 8, scored: every, val_samples: 30}");
  w.ok({"train", "task.yaml", "-q"});
  const json j = w.read({"eval", "runs/run", "--lengths", "8,16,64"});
  REQUIRE(j.at("lengths").size() == 3);
  CHECK(j.at("lengths")[0].at("length") == 8);
  CHECK(j.at("lengths")[2].at("length") == 64);
  CHECK(j.at("lengths")[2].at("tokens") == 64 * 30);
  CHECK(std::filesystem::exists(w.scratch.path / "runs/run/eval/val-windows-lengths_8_16_64.json"));
  CHECK(w.ok({"eval", "runs/run", "--lengths", "32", "--by-position"}).shows("x 4"));
  const json places = w.read({"eval", "runs/run", "--by-position"}).at("by_position");
  REQUIRE(places.size() == 4);
  CHECK(places.back().at("to") == 8);
  CHECK_FALSE(places[0].contains("bytes"));
  CHECK(j.at("by_length").size() == 6);
  w.ends({"eval", "runs/run", "--lengths", "8,0"}, 2);
  const TaskWorld learned("{task: parity, length: 8}", "{type: attention, heads: 2}");
  learned.ok(with({"train", "task.yaml", "-q"}, sets({"model.positions=learned"})));
  learned.ends({"eval", "runs/run", "--lengths", "9"}, 2, {"learned positions for 8"});
}

TEST_CASE("cli task: what a task has no use for is refused by line, and what it lacks is said") {
  const TaskWorld w;
  const auto refused = [&](const Words& changes, const Words& says) {
    w.ends(with({"check", "task.yaml"}, sets(changes)), 2, says);
  };
  refused({"data.corpus=own"}, {"data.corpus is of a text", "--set ~data.corpus"});
  refused({"data.order=streams"}, {"data.order is of a text"});
  refused({"objective.type=goldfish"}, {"objective.type: goldfish chooses its targets", "next_token"});
  refused({"objective.type=masked_diffusion"}, {"objective.type: masked_diffusion"});
  refused({"train.context=11"}, {"train.context: samples of mqar have up to 12 tokens"});
  refused({"eval.protocol=sliding"}, {"eval.protocol"});
  refused({"eval.tokens=12"}, {"eval.tokens"});
  refused({"eval.max_tokens=12"}, {"eval.max_tokens"});
  refused({"eval.prompt=k1"}, {"no samples of text"});
  refused({"train.sample_every=5"}, {"no samples of text"});
  refused({"train.carry_state=true"}, {"train.carry_state"});
  refused({"~train.max_steps", "train.max_epochs=1"}, {"train.max_epochs", "data.train_samples"});
  refused({"data.pairs=[9]"}, {"data.length 12 has no room"});
  refused({"data.task=mqarr"}, {"mqar"});
  refused({"data.min_length=3"}, {"data.min_length belongs to task: copying"});
  w.ok(with({"check", "task.yaml"}, sets({"~train.max_steps", "train.max_epochs=1", "data.train_samples=40"})));
  w.ok(with({"check", "task.yaml"}, sets({"train.context=20"})));
  w.ends(with({"check", "tiny.yaml"}, sets({"data.pairs=[1]"})), 2, {"data.pairs belongs to task: mqar"});
  w.ok({"describe", "task.yaml"});
  w.ok({"verify", "task.yaml"});
  w.ok({"train", "task.yaml", "-q"});
  for (const Words& words : {Words{"--protocol", "windows"},
                             {"--tokens", "12"},
                             {"--max-tokens", "5"},
                             {"--corpus", "own"},
                             {"--text", "own.txt"}})
    w.ends(with({"eval", "runs/run"}, words), 2, {"mqar"});
  w.ends({"generate", "runs/run"}, 2, {"targets are answers"});
}

TEST_CASE("cli task: a study of a task keeps accuracies, and its seeds, which have other samples, are compared") {
  const TaskWorld w("{task: parity, length: 8, scored: every, val_samples: 30, test_samples: 30}");
  const auto study = [&](const std::string& more) {
    spill(w.scratch.path / "study.yaml", "base: task.yaml\nseeds: 2\n" + more +
                                             "arms:\n  min_gru: {}\n  gru: {\"model.layers[0].mixer\": {type: gru}}\n");
  };
  study("eval: {tokens: 8}\n");
  w.ends({"check", "study.yaml"}, 2, {"samples of parity are scored one by one"});
  study("");
  CHECK(w.ok({"sweep", "study.yaml", "-o", "out", "--threads", "1"}).says("accuracy 0."));
  const json result = json::parse(slurp(w.scratch.path / "out/results/gru.s2.json"));
  for (const char* part : {"chosen_on", "reported"}) CHECK(result.at(part).at("accuracy").get<double>() > 0);
  CHECK(has(result.at("reported").at("data").at("task").get<std::string>(), "seed 2"));
  const Ended table = w.ok({"compare", "out"});
  CHECK(table.shows("bits/token"));
  CHECK_FALSE(table.shows("another corpus"));
}

TEST_CASE("cli data samples: tokens, and below them what is scored") {
  const TaskWorld w("{task: parity, length: 4, min_length: 4}");
  const json j = w.read({"data", "samples", "task.yaml", "-n", "2", "--first", "5", "--split", "val"});
  REQUIRE(j.at("samples").size() == 2);
  CHECK(j.at("samples")[0].at("number") == 5);
  int sum = 0;
  for (const json& bit : j.at("samples")[0].at("tokens")) sum += std::stoi(bit.get<std::string>());
  CHECK(j.at("samples")[0].at("targets") == json({"", "", "", std::to_string(sum % 2)}));
  const Ended shown = w.ok({"data", "samples", "task.yaml"});
  CHECK(shown.shows("train 0\n  tokens:  "));
  CHECK(shown.shows("SHA-256: " + j.at("sha256").get<std::string>()));
  w.ends({"data", "samples", "tiny.yaml"}, 2, {"only a task"});
}
