// Speed and state of decoding, from the command line.
#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli bench decode: tokens a second and state bytes of configurations and runs, at each depth") {
  const TrainedWorld w({"train.max_steps=2"});
  const Words quick = {"-n", "2", "-r", "2"};
  const json j = w.read(with({"bench", "decode", "tiny.yaml", "runs/tiny", "--depths", "0,5,40"}, quick));
  CHECK(j.at("tokens") == 2);
  CHECK(j.at("repetitions") == 2);
  CHECK(j.at("threads").get<int>() > 0);
  REQUIRE(j.at("rows").size() == 6);
  for (const json& row : j.at("rows")) {
    CHECK(row.at("tokens_per_s").get<double>() ==
          doctest::Approx(1 / row.at("seconds_per_token").at("median").get<double>()).epsilon(1e-12));
    const auto depth = row.at("depth").get<int64_t>();
    CHECK(row.at("kv_bytes") == std::min<int64_t>(depth, 8) * 2 * 16 * 4);
    if (depth > 0) {
      const json d = w.read({"describe", "tiny.yaml", "--set", "train.context=" + std::to_string(depth)});
      CHECK(row.at("state_bytes") == d.at("total").at("state_bytes"));
    }
  }
  CHECK(j.at("rows")[0].at("model") == "tiny.yaml");
  CHECK(j.at("rows")[3].at("model") == "runs/tiny");
  const json other =
      w.read(with({"bench", "decode", "tiny.yaml", "-d", "3,30", "--set", "model.layers=[{mixer: min_gru}]"}, quick));
  CHECK(other.at("rows")[0].at("state_bytes") == 16 * 4);
  CHECK(other.at("rows")[1].at("state_bytes") == 16 * 4);
  const Words shown = with({"bench", "decode", "tiny.yaml", "-q", "-d", "3"}, quick);
  CHECK(w.ok(shown).shows("one sequence, 2 tokens each time, 2 repetitions, "));
  CHECK(w.ok(with(shown, {"--markdown"})).out.starts_with("| model | parameters | depth | tokens/s | p10 | p90 | "));
  CHECK(w.ok(with(shown, {"--csv"})).out.starts_with("model,parameters,depth,tokens/s,p10,p90,state bytes,"));
  w.ends(with(shown, {"--depths", "-1"}), 2);
  w.ends({"bench", "decode"}, 2, {"MODELS"});
  w.ends({"bench", "decode", "runs/tiny", "--set", "model.d_model=8"}, 2, {"is a trained model"});
  w.ends(with({"bench", "decode", "tiny.yaml", "-d", "24", "--set", "model.positions=learned"}, quick), 2,
         {"learned positions for"});
  w.ends({"bench", "decode", "tiny.yaml", "--set", "objective.type=masked_diffusion", "--set",
          "model.layers=[{mixer: {type: attention, heads: 2}}]"},
         2, {"one token after the other"});
  w.ends(with({"bench", "decode", "tiny.yaml", "-d", "1000000000", "--set",
               "model.layers=[{mixer: {type: attention, heads: 2}}]"},
              quick),
         7);
}
