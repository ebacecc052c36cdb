// Plans by the library: the same data for each seed, pairs, and folders that keep to their study.
#include "sweep/plan.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "support/messages.h"
#include "sweep/held_out.h"
#include "sweep/job.h"
#include "sweep/plan_world.h"
#include "sweep/prediction.h"
#include "sweep/settle.h"
#include "sweep/timed_sizes.h"

using namespace effllm;
using test::kArms;
using test::PlanWorld;

TEST_CASE("plan: seed s of every arm and value reads the same data, and each seed other data") {
  const PlanWorld w;
  const Plan p = w.plan(std::string(kArms) + "seeds: 3\ntune: {optim.lr: [1e-3, 1e-2]}\n");
  REQUIRE(p.runs.size() == 12);
  const RunConfig base = read_run_config(load_config(w.t / "c.yaml"), w.t / "c.yaml");
  std::map<int64_t, std::set<std::string>> orders;
  std::set<std::string> names;
  for (const PlannedRun& r : p.runs) {
    CHECK(r.config.data.seed == base.data.seed + r.seed - 1);
    CHECK(r.config.train.seed == base.train.seed + r.seed - 1);
    CHECK(r.config.name == r.name);
    orders[r.seed].insert(data_order_hash(r.config));
    names.insert(r.name);
  }
  CHECK(names.size() == 12);
  CHECK(names.contains("wide.lr-1e-2.s3"));
  REQUIRE(orders.size() == 3);
  std::set<std::string> all;
  for (const auto& [seed, hashes] : orders) {
    CHECK(hashes.size() == 1);
    all.insert(*hashes.begin());
  }
  CHECK(all.size() == 3);
}

TEST_CASE("plan: the first seed of everything comes first, then the next") {
  const PlanWorld w;
  const Plan p = w.plan(std::string(kArms) + "seeds: 2\ntune: {optim.lr: [1e-3, 1e-2]}\n");
  std::vector<std::string> names;
  for (const PlannedRun& r : p.runs) names.push_back(r.name);
  CHECK(names == std::vector<std::string>{"plain.lr-1e-3.s1", "plain.lr-1e-2.s1", "wide.lr-1e-3.s1", "wide.lr-1e-2.s1",
                                          "plain.lr-1e-3.s2", "plain.lr-1e-2.s2", "wide.lr-1e-3.s2",
                                          "wide.lr-1e-2.s2"});
  CHECK(p.runs[2].config.model.d_model == 32);
  CHECK(p.runs[3].config.optim.lr == 1e-2);
  CHECK(p.arms[1].size.parameters > 2 * p.arms[0].size.parameters);
  CHECK(p.arms[1].size.decode_flops > p.arms[0].size.decode_flops);
  CHECK(to_json(p)["runs"][7] == identity_of(p, p.runs[7]));
  CHECK(identity_of(p, p.runs[7]) ==
        nlohmann::json{{"run", "wide.lr-1e-2.s2"}, {"arm", "wide"}, {"point", {{"optim.lr", "1e-2"}}}, {"seed", 2}});
}

TEST_CASE("plan: arms with another batch, context, order or tokenizer are no pairs") {
  const PlanWorld w;
  for (const char* key : {"train.batch: 2", "train.context: 8", "data.order: streams", "data.tokenizer: byte"}) {
    const Plan p = w.plan(std::string("arms:\n  plain: {}\n  other: {") + key + "}\nseeds: 1\n");
    CHECK_MESSAGE(data_order_hash(p.runs[0].config) != data_order_hash(p.runs[1].config), key);
  }
  const Plan same = w.plan("arms:\n  plain: {}\n  other: {optim.lr: 1e-4, model.dropout: 0.1}\nseeds: 1\n");
  CHECK(data_order_hash(same.runs[0].config) == data_order_hash(same.runs[1].config));
}

TEST_CASE("plan: a folder refuses a study that changes its runs, key by key, and takes more of them") {
  const PlanWorld w;
  const std::string text = std::string(kArms) + "seeds: 1\n";
  const Plan p = w.plan(text);
  w.folder.take(p);
  w.folder.take(w.plan(text));  // the same
  for (const PlannedRun& r : p.runs) w.end(p, r, 2);
  CHECK(has(w.refused("arms:\n  plain: {}\n  wide: {model.d_model: 48}\nseeds: 1\n"),
            "arm wide: model.d_model: 32 -> 48"));
  CHECK(has(w.refused("arms:\n  plain: {optim.lr: 1e-4}\n  wide: {model.d_model: 32}\nseeds: 1\n"),
            "arm plain: optim.lr: 0.01 -> 0.0001"));
  CHECK(has(w.refused("arms:\n  plain: {}\nseeds: 1\n"), "arm wide: wide.s1 is no run any more"));
  CHECK(has(w.refused(text + "eval: {max_tokens: 64}\n"), "eval.max_tokens: 0 -> 64"));
  CHECK(has(message_of<ConfigError>([&] { w.folder.require_same(w.plan(text + "eval: {max_tokens: 64}\n")); }),
            "eval.max_tokens"));
  CHECK(w.refused(text + "eval: {baselines: false}\n").empty());
  CHECK(read_plan(w.folder)["runs"].size() == 2);
  CHECK(w.refused(std::string(kArms) + "  third: {optim.lr: 1}\nseeds: 2\n").empty());
  CHECK(read_plan(w.folder)["runs"].size() == 6);
}

TEST_CASE("plan: runs that have not begun may change or go, those that have may not") {
  const PlanWorld w;
  const Plan p = w.plan(std::string(kArms) + "seeds: 2\ntune: {optim.lr: [1e-3, 1e-2]}\n");
  CHECK(w.folder.take(p) == 0);
  CHECK(std::filesystem::exists(w.folder.config("wide.lr-1e-2.s2")));
  const Plan fewer = w.plan("arms:\n  plain: {}\n  wide: {model.d_model: 48}\nseeds: 1\ntune: {optim.lr: [1e-3]}\n");
  CHECK(w.folder.take(fewer) == 7);  // all but plain.lr-1e-3.s1
  CHECK(read_plan(w.folder)["runs"].size() == 2);
  CHECK_FALSE(std::filesystem::exists(w.folder.config("wide.lr-1e-2.s2")));
  CHECK_FALSE(std::filesystem::exists(w.folder.work("wide.lr-1e-2.s2")));
  CHECK(read_object(w.folder.plan())["arms"][1]["overrides"][0]["value"] == "48");
  // A worker that began with the plan of before sees that its run is another, or gone.
  CHECK_FALSE(w.folder.keeps(p.runs[2]));
  CHECK_FALSE(w.folder.keeps(p.runs[7]));
  CHECK(w.folder.keeps(p.runs[0]));
  CHECK(w.folder.keeps(fewer.runs[1]));
  // Begun is what has a run folder, a result, a failure, or a worker.
  const std::string none = "arms:\n  wide: {model.d_model: 48}\nseeds: 1\ntune: {optim.lr: [1e-3]}\n";
  const char* gone = "arm plain: plain.lr-1e-3.s1 is no run any more";
  {
    const FileLock working([&] {
      std::filesystem::create_directories(w.folder.work("plain.lr-1e-3.s1"));
      return w.folder.work("plain.lr-1e-3.s1");
    }());
    CHECK(has(w.refused(none), gone));
  }
  std::filesystem::create_directories(w.folder.run("plain.lr-1e-3.s1"));
  CHECK(has(w.refused(none), gone));
  CHECK(has(message_of<ConfigError>([&] { w.folder.require_same(w.plan(none)); }), gone));
  std::filesystem::remove(w.folder.run("plain.lr-1e-3.s1"));
  w.end(fewer, fewer.runs[0], 2);
  CHECK(has(w.refused(none), gone));
  std::filesystem::remove(w.folder.result("plain.lr-1e-3.s1"));
  CHECK(w.refused(none).empty());
}

TEST_CASE("plan: a key with parts of one is solved for by such a step, nearer than whole widths come") {
  const PlanWorld w;
  const std::string arms =
      "arms:\n  plain: {\"model.layers[0].ffn\": {type: swiglu, expand: 2}}\n"
      "  recurrent: {\"model.layers[0]\": {mixer: {type: min_gru}, ffn: {type: swiglu, expand: 2}}}\n"
      "seeds: 1\n";
  const auto off = [](const Plan& p) {
    const double a = static_cast<double>(p.arms[0].size.parameters), b = static_cast<double>(p.arms[1].size.parameters);
    return std::abs(b / a - 1);
  };
  const Plan p =
      w.plan(arms + "match: {what: params, to: plain, key: \"model.layers[0].ffn.expand\", step: 0.05, tol: 0.2}\n");
  CHECK(off(p) < off(w.plan(arms + "match: {what: params, to: plain, tol: 0.2, step: 4}\n")));
  REQUIRE(p.arms[1].overrides.size() == 2);
  const double expand = std::stod(p.arms[1].overrides[1].second);
  CHECK(expand != std::round(expand));
  CHECK(p.arms[1].overrides[1].second.size() <= 4);  // 3.15, not 3.1500000000000004
  CHECK(p.arms[1].matched.starts_with("model.layers[0].ffn.expand " + p.arms[1].overrides[1].second + ": "));
}

TEST_CASE("plan: sizes by measured time are those that the folder keeps, and are not measured again") {
  const PlanWorld w;
  const std::string arms = std::string(kArms) + "seeds: 1\n",
                    match = "match: {what: time, to: plain, tol: 0.2, step: 4}\n";
  const Plan unmeasured = w.plan(arms + match);  // as `effllm check` has it
  CHECK(unmeasured.arms[1].matched == "model.d_model: measured by sweep");
  CHECK(unmeasured.runs[1].config.model.d_model == 32);
  const std::filesystem::path file = w.folder.path() / "match/sizes.json";
  const auto keep = [&](double ratio) {
    write_object(file, {{"match", "{what: time, to: plain, key: model.d_model, step: 4.0}"},
                        {"arms", {{"wide", {{"value", 24}, {"ratio", ratio}}}}}});
  };
  std::filesystem::create_directories(file.parent_path());
  keep(1.1);
  const auto planned = [&](const std::string& text) {
    TimedSizes sizes(w.folder, 1, true);
    return make_plan(w.study("base: c.yaml\n" + text), &sizes);
  };
  const Plan p = planned(arms + match);
  CHECK(p.runs[1].config.model.d_model == 24);
  CHECK(p.runs[0].config.model.d_model == 16);
  CHECK(p.arms[1].matched == "model.d_model 24: 10.0 % more than plain in time");
  CHECK(read_object(file)["arms"]["wide"]["ratio"] == 1.1);
  const auto wrong = [&](const std::string& text) { return message_of<ConfigError>([&] { planned(text); }); };
  CHECK(has(wrong(arms + "match: {what: time, to: plain, tol: 0.2, step: 8}\n"), "keeps sizes that were measured for"));
  keep(1.3);
  CHECK(has(wrong(arms + match), "or a larger match.tol: times scatter"));
  spill(file, "{\"match\": 3}");
  CHECK(has(message_of<DataError>([&] { planned(arms + match); }), "sizes.json is damaged"));
}

TEST_CASE("plan: what runs were foreseen to take is kept before they begin, and held against what they took") {
  const PlanWorld w;
  const Plan p = w.plan(std::string(kArms) + "seeds: 1\n");
  w.folder.take(p);
  const Forecast first{.seconds = {10, 20}, .baselines = 5, .method = "by four steps of each arm"};
  keep_predictions(w.folder, p, first, 2, 1);
  CHECK(time_text(time_spent(w.folder, to_json(p))).empty());
  const auto took = [&](const std::string& name, double elapsed, double spent) {
    write_object(w.folder.timing(name), {{"elapsed_s", elapsed}, {"spent_s", spent}});
  };
  took(p.runs[0].name, 4, 12);  // it was stopped and went on
  const TimeSpent one = time_spent(w.folder, to_json(p));
  CHECK(one.runs == 1);
  CHECK(one.predicted == 10);
  CHECK(one.spent == 12);
  CHECK_MESSAGE(has(time_text(one), "machine time: foreseen 10"), time_text(one));
  CHECK_MESSAGE(has(time_text(one), "20.0 % more (1 of 2 runs)"), time_text(one));
  // What was said once stays, whatever is known later.
  std::filesystem::create_directories(w.folder.run(p.runs[0].name));
  keep_predictions(w.folder, p, {.seconds = {12, 24}, .baselines = 6, .method = "by the runs that are done"}, 2, 1);
  CHECK(read_object(w.folder.prediction(p.runs[0].name))["seconds"] == 10);
  CHECK(read_object(w.folder.prediction(p.runs[1].name))["seconds"] == 20);
  took(p.runs[1].name, 20, 20);
  took("baselines", 3, 3);
  const TimeSpent all = time_spent(w.folder, to_json(p));
  CHECK(all.predicted == 35);
  CHECK(all.spent == 35);
  spill(w.folder.timing(p.runs[1].name), "{}");
  CHECK(has(message_of<DataError>([&] { time_spent(w.folder, to_json(p)); }), "predicted/ or timings/ is damaged"));
}

TEST_CASE("plan: the range of each tuned number is kept, wherever it stands") {
  const PlanWorld w;
  const Plan p = w.plan(
      "arms:\n  plain: {}\n  drop: {\"model.layers[0].mixer\": {type: attention, heads: 2}}\n"
      "seeds: 1\ntune: {optim.weight_decay: [0, 0.1], model.dropout: [0, 0.5], optim.schedule.warmup: [1, 2]}\n");
  for (const nlohmann::json& arm : to_json(p)["arms"]) {
    CHECK(arm["ranges"]["optim.weight_decay"] == nlohmann::json{0, nullptr});
    CHECK(arm["ranges"]["model.dropout"].at(0) == 0);
    CHECK(arm["ranges"]["optim.schedule.warmup"].at(0) == 0);
  }
  const Plan inside = w.plan(
      "arms:\n  drop: {\"model.layers[0].mixer\": {type: attention, heads: 2}}\n"
      "seeds: 1\ntune: {\"model.layers[0].mixer.window\": [0, 8]}\n");
  CHECK(to_json(inside)["arms"][0]["ranges"]["model.layers[0].mixer.window"].at(0) == 0);
}

TEST_CASE("plan: an error that comes with a key of an arm is told at that key, one of the base at its own place") {
  const PlanWorld w;
  const auto wrong = [&](const std::string& text) { return message_of<Error>([&] { w.plan(text); }); };
  const std::string with = wrong("arms:\n  plain: {}\n  odd: {optim.lr: 1e-3, model.d_model: 15}\nseeds: 1\n");
  CHECK_MESSAGE(has(with, "study.yaml:4:25: error: arm odd: with this model.d_model there is an error:"), with);
  CHECK_MESSAGE(has(with, "c.yaml:"), with);
  const std::string tuned = wrong("arms: {plain: }\nseeds: 1\ntune:\n  model.d_model: [16, 15]\n");
  CHECK_MESSAGE(has(tuned, "study.yaml:5:3: error: arm plain: with this model.d_model there is an error:"), tuned);
  const std::string base = wrong("arms:\n  plain: {}\nseeds: 1\neval: {split: val}\n");
  CHECK_MESSAGE(!has(base, "arm plain"), base);
}

TEST_CASE("plan: claims are dated by the runs that had ended, and can't be changed after") {
  const PlanWorld w;
  const std::string text = std::string(kArms) + "seeds: 1\n";
  const auto claim = [](const std::string& name, const std::string& margin) {
    return "- {name: " + name + ", source: a, statement: b, arms: [wide, plain], predicts: lower, margin: " + margin +
           "}\n";
  };
  const Plan p = w.plan(text + "claims:\n" + claim("early", "0.1"));
  w.folder.take(p);
  w.folder.take(w.plan(text + "claims:\n" + claim("early", "0.2")));  // nothing has ended
  w.end(p, p.runs[0], 2);
  w.folder.take(w.plan(text + "claims:\n" + claim("late", "0") + claim("early", "0.2")));
  const auto dates = [&] {
    std::vector<int64_t> all;
    const nlohmann::json kept = read_plan(w.folder);
    for (const auto& c : kept.at("claims")) all.push_back(c["after_runs"]);
    return all;
  };
  CHECK(dates() == std::vector<int64_t>{1, 0});
  CHECK(read_plan(w.folder)["claims"][0]["of_runs"] == 2);
  w.end(p, p.runs[1], 2);
  w.folder.take(w.plan(text + "claims:\n" + claim("late", "0") + claim("early", "0.2")));
  CHECK(dates() == std::vector<int64_t>{1, 0});
  CHECK(has(w.refused(text + "claims:\n" + claim("late", "0") + claim("early", "0.3")),
            "a claim was changed or taken out after runs had ended: {name: early"));
  CHECK(has(w.refused(text), "a claim was changed or taken out"));
}

TEST_CASE("plan: held-out seeds are of what was chosen, and of no seed that the study has") {
  const PlanWorld w;
  const std::string text =
      std::string(kArms) +
      "seeds: 2\ntune: {optim.lr: [1e-3, 1e-2]}\nclaims:\n- {source: a, statement: b, arms: [wide, plain], "
      "predicts: lower}\n";
  const Plan p = w.plan(text + "confirm: 2\n");
  w.folder.take(p);
  CHECK(has(message_of<ConfigError>([&] { held_out(p, w.folder); }), "4 of 4 runs are missing"));
  for (const PlannedRun& r : p.runs) w.end(p, r, 2 + (r.arm == r.point ? 0.1 : 0));  // plain: 1e-2, wide: 1e-3
  const Plan held = held_out(p, w.folder);
  std::vector<std::string> names;
  for (const PlannedRun& r : held.runs) {
    names.push_back(r.name);
    CHECK(r.config.data.seed == p.runs[0].config.data.seed + r.seed - 1);
  }
  CHECK(names == std::vector<std::string>{"plain.lr-1e-2.s1001", "wide.lr-1e-3.s1001", "plain.lr-1e-2.s1002",
                                          "wide.lr-1e-3.s1002"});
  CHECK(data_order_hash(held.runs[0].config) == data_order_hash(held.runs[1].config));
  w.folder.take_held_out(held);
  CHECK(read_object(w.folder.confirm())["runs"].size() == 4);
  CHECK(std::filesystem::exists(w.folder.config("wide.lr-1e-3.s1002")));
  w.folder.take_held_out(held_out(w.plan(text + "confirm: 3\n"), w.folder));
  CHECK(read_object(w.folder.confirm())["runs"].size() == 6);
  CHECK(has(message_of<ConfigError>([&] { w.folder.take_held_out(held); }), "holds out the run plain.lr-1e-2.s1003"));
  CHECK(has(message_of<ConfigError>([&] { held_out(w.plan(text), w.folder); }), "has no `confirm`"));
}
