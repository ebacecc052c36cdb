// Models with an encoder through every command.
#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

const Words kEncoder = {"model.block.cross={type: attention, heads: 2}",
                        "model.encoder={layers: [{mixer: {type: attention, heads: 2}}]}"};

}  // namespace

TEST_CASE("cli: a model with an encoder is described, trained, resumed, evaluated, verified and continues a prompt") {
  const TrainedWorld w(with(kEncoder, {"objective.type=seq2seq", "train.max_steps=20", "eval.sample_tokens=10"}));
  const json described = w.read({"describe", "runs/tiny"});
  std::string rows;
  for (const json& row : described.at("layers")) rows += row.at("what").get<std::string>() + "\n";
  CHECK_MESSAGE(rows.find("encoder.layers.0 attention") != rows.npos, rows);
  CHECK_MESSAGE(rows.find("min_gru + cross attention + swiglu") != rows.npos, rows);
  w.ok(with({"train", "tiny.yaml", "-q", "--resume", "auto"},
            sets(with(kEncoder, {"objective.type=seq2seq", "train.max_steps=24", "eval.sample_tokens=10"}))));
  const json scored = w.read({"eval", "runs/tiny"});
  CHECK(scored.at("bound") == false);
  CHECK_FALSE(scored.contains("given_rest"));
  w.ok({"eval", "runs/tiny", "--protocol", "sliding", "--stride", "4"});
  w.ends({"eval", "runs/tiny", "--protocol", "carried"}, 2, {"carries no state"});
  w.ends({"eval", "runs/tiny", "--save-logits", "l.safetensors"}, 2, {"predicts a part of a window"});
  CHECK(w.read({"eval", "runs/tiny", "--exit-layer", "all"}).at("exits").size() > 1);
  const Ended verified = w.ok({"verify", "runs/tiny", "--tokens", "12"});
  for (const char* check : {"the encoder is read", "nothing behind the encoder's text", "single tokens"})
    CHECK(verified.out.find(check) != std::string::npos);
  const auto text = [&](const Words& more) {
    return w.read(with({"generate", "runs/tiny", "-n", "12", "--prompt", "the quick"}, more)).at("samples").at(0);
  };
  CHECK(text({"--seed", "3"}) == text({"--seed", "3"}));
  CHECK(text({"--seed", "3"}) != text({"--seed", "4"}));
  text({"--context", "8"});
  // A prompt that is longer than what the encoder reads of a row is cut, and that is said.
  const Words longer = {"generate", "runs/tiny", "-n", "1", "--prompt", "the quick brown fox"};
  CHECK(w.ok(longer).err.find("context: the encoder reads the last 12 tokens") != std::string::npos);
  CHECK(w.ok({"generate", "runs/tiny", "-n", "1", "--prompt", "the quick"}).err.empty());
  w.ends({"generate", "runs/tiny", "--blank", "?"}, 2, {"it continues a prompt"});
  w.ok({"export", "runs/tiny", "-o", "exported"});
  w.ok({"train", "tiny.yaml", "--dry-run", "--set", "model.block.cross={type: attention, heads: 2}", "--set",
        "model.encoder={layers: [{mixer: {type: attention, heads: 2}}]}", "--set", "objective.type=seq2seq", "--set",
        "train.recompute=block"});
}

TEST_CASE("cli: span corruption says what its numbers are, and fills in a prompt") {
  const TrainedWorld w(
      with(kEncoder, {"objective.type=span_corruption", "train.max_steps=20", "eval.sample_tokens=10"}));
  const Ended shown = w.ok({"eval", "runs/tiny"});
  CHECK(shown.out.find("given the rest: no likelihood of the text") != std::string::npos);
  CHECK(shown.err.find("baselines are left out") != std::string::npos);
  CHECK(w.read({"eval", "runs/tiny"}).at("given_rest") == true);
  const Ended filled = w.ok({"generate", "runs/tiny", "-n", "8", "--prompt", "the ___ fox ___ counts"});
  CHECK(filled.out.starts_with("the "));
  CHECK(filled.out.find(" fox ") != std::string::npos);
  CHECK(filled.out.find("___") == std::string::npos);
  w.ok({"generate", "runs/tiny", "-n", "8", "--prompt", "the ? fox", "--blank", "?"});
  w.ends({"generate", "runs/tiny", "--blank", ""}, 2, {"--blank", "must not be empty"});
  w.ends({"generate", "runs/tiny", "--prompt", std::string(200, '?'), "--blank", "?"}, 2,
         {"--prompt: a prompt with 200 blanks"});
  const json written = w.read({"generate", "runs/tiny", "-n", "8", "--prompt", "the ___ fox ___ counts"});
  CHECK(written.at("before") == "the ");
  CHECK(written.at("before_base64") == "dGhlIA==");
  CHECK(filled.out == "the " + written.at("samples").at(0).get<std::string>() + "\n");
  w.ends({"eval", "runs/tiny", "--protocol", "sliding"}, 2, {"windows that overlap would take tokens out"});
  CHECK(w.read({"eval", "runs/tiny", "--exit-layer", "all"}).at("exits").back().at("agreement") == 1.0);
  CHECK(w.ok({"verify", "runs/tiny", "--tokens", "12"}).out.find("checks hold") != std::string::npos);
  w.ends({"generate", "runs/tiny", "--context", "8"}, 2, {"reads the whole prompt"});
}

TEST_CASE("cli: an encoder, what reads it and the objective are refused one without the other") {
  const World w;
  const auto refused = [&](const Words& changes, const char* text) {
    w.ends(with({"train", "tiny.yaml", "--dry-run"}, sets(changes)), 2, {text});
  };
  refused(kEncoder, "the objective next_token has no text for an encoder");
  refused({"objective.type=seq2seq"}, "the objective seq2seq needs an encoder");
  refused({kEncoder[0]}, "this layer has `cross`, but the model has no `encoder`");
  refused({kEncoder[1]}, "no layer reads the encoder");
  const Words all = with(kEncoder, {"objective.type=seq2seq"});
  refused(with(all, {"data.reset=document"}), "gives the encoder a part of a row");
  refused(with(all, {"eval.protocol=carried"}), "begins each with an encoder");
  refused(with(all, {"data.order=streams", "train.carry_state=true"}), "begins each row with an encoder");
  refused(with(kEncoder, {"objective={type: span_corruption, rate: 0.5, mean_span: 1, sentinels: 3}"}),
          "for which objective.sentinels must be at least");
}
