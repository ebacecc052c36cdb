// Numbers of any size in a configuration: each is refused before anything is taken, with its place, or it trains.
#include <doctest/doctest.h>

#include <set>

#include "decode/generator.h"
#include "eval/evaluator.h"
#include "ffn/ffn.h"
#include "kernels/parallel.h"
#include "mixers/mixer.h"
#include "support/named.h"
#include "support/tiny_run.h"
#include "train/memory_refusal.h"
#include "train/preflight.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kRoom = 512e6;  // more than this is not tried out

// A step, an evaluation and a sample, as a run does them.
void train_once(const RunConfig& c, const Preflight& p) {
  LanguageModel model(c.model, p.tokenizer->vocab_size());
  model.params().materialize(1, DType::f32);
  const auto optimizer = build_optimizer(c.optim, c.groups, model.params());
  Trainer trainer(model, next_token(), *optimizer, plan_shards(c.train, model),
                  {.carry_state = c.train.carry_state,
                   .carried_tokens = carried_tokens(c, static_cast<int64_t>(p.train.tokens.size()))});
  const auto order = build_order(c.data.order.name(), p.train, {c.train.batch, c.train.context}, 1, false);
  for (int64_t step : {0, 1}) CHECK(std::isfinite(trainer.step(order->at(step * c.train.batch), step, 1).loss));
  EvalOptions o = evaluation_of(c);
  if (o.max_tokens == 0 || o.max_tokens > 200) o.max_tokens = 200;
  CHECK(std::isfinite(evaluate(model, next_token(), p.val, *p.tokenizer, o).nats));
  GenerateOptions g;
  g.tokens = std::min<int64_t>(c.eval.sample_tokens, 40);
  generate(model, *p.tokenizer, c.eval.prompt, g);
}

// True where it trained. What fails after the preflight fails the test.
bool trains(const TinyFolder& f, const std::string& yaml, std::set<int> may_refuse = {2, 7}) {
  CAPTURE(yaml);
  Preflight p;
  RunConfig c;
  try {
    c = read_run_config(parse_config(yaml, "sizes.yaml"), f / "sizes.yaml");
    p = preflight(c);
    require_memory(c, p.tokenizer->vocab_size(), p.plan, kRoom);
  } catch (const Error& e) {
    const std::string what = e.what();
    CAPTURE(what);
    CHECK(may_refuse.contains(static_cast<int>(e.code())));
    if (e.code() != ExitCode::data) CHECK(what.find("sizes.yaml:") != what.npos);
    return false;
  }
  if (c.train.batch * c.train.context > 100000) return true;  // would take minutes
  train_once(c, p);
  return true;
}

std::string configuration(const std::string& mixer, const std::string& ffn, const std::string& more = "") {
  return "model:\n  d_model: 8\n  layers:\n    - mixer: " + mixer + "\n      ffn: " + ffn +
         "\ndata: {corpus: data/tiny.yaml, tokenizer: char}\n"
         "train: {batch: 2, context: 16, max_steps: 2}\n"
         "eval: {sample_tokens: 20, prompt: the}\n" +
         more;
}

std::string with_option(const LayerInfo& info, const std::string& name, const std::string& value) {
  ConfigNode node = parse_config(info.tiny, "tiny");
  if (!node.is_map()) node = ConfigNode::map();
  node.set("type", info.name);
  node.set(name, value);
  return to_flow_yaml(node);
}

bool is_integer(const OptionInfo& o) { return o.type == "int" || o.type == "int, optional"; }

// 2^20, 2^31, 2^40, 2^62, and the largest that the range allows.
std::vector<std::string> sizes_for(const OptionInfo& o) {
  std::vector<std::string> all = {"1048576", "2147483648", "1099511627776", "4611686018427387904"};
  if (const size_t to = o.limits.find(" to "); to != o.limits.npos) all.push_back(o.limits.substr(to + 4));
  return all;
}

}  // namespace

TEST_CASE("sizes: every integer option of every mechanism trains or is refused with its place") {
  const TinyFolder f("sizes");
  int trained = 0, tried = 0;
  const auto attempt = [&](const LayerInfo& info, bool ffn) {
    const auto options = info.options();
    for (const OptionInfo& o : describe(*options))
      for (const std::string& value : is_integer(o) ? sizes_for(o) : std::vector<std::string>()) {
        const std::string part = with_option(info, o.name, value);
        trained += trains(f, ffn ? configuration("min_gru", part) : configuration(part, "none"));
        ++tried;
      }
  };
  for (const LayerInfo* m : all_mixers) attempt(*m, false);
  for (const LayerInfo* m : all_ffns) attempt(*m, true);
  CHECK(tried > 150);
  CHECK(trained > 10);
}

TEST_CASE("sizes: every integer key of the other sections trains or is refused") {
  const TinyFolder f("sizes_sections");
  for (const ConfigSection& s : all_sections()) {
    const size_t own = s.path.find(" (");  // "eval (protocol: sliding)": what that one has beside
    const std::string section = s.path.substr(0, own);
    static const std::set<std::string> kTried = {"data", "train", "eval", "model", "optim", "optim.schedule"};
    if (!kTried.contains(section)) continue;
    for (const OptionInfo& o : describe(*s.options))
      for (const std::string& value : is_integer(o) ? sizes_for(o) : std::vector<std::string>()) {
        ConfigNode root = parse_config(configuration("{type: attention, heads: 2}", "none"), "sizes.yaml");
        if (s.path == "train" && o.name != "max_steps" && o.name.starts_with("max_"))
          apply_override(root, "~train.max_steps", 1);
        if (const size_t colon = s.path.find(": "); own != s.path.npos)
          apply_override(root,
                         section + "." + s.path.substr(own + 2, colon - own - 2) + "=" +
                             s.path.substr(colon + 2, s.path.size() - colon - 3),
                         1);
        apply_override(root, section + "." + o.name + "=" + value, 1);
        trains(f, to_yaml(root), {2, 3, 7});
      }
  }
}

TEST_CASE("sizes: what a window, a block or a group may hold beyond the text takes no memory") {
  const TinyFolder f("sizes_beyond");
  for (const char* mixer :
       {"{type: attention, heads: 2, window: 1000000}", "{type: attention, heads: 2, window: 100000000, sinks: 9}",
        "{type: moba, heads: 2, block: 999999999}", "{type: linearized_attention, query_key_dim: 6, group: 1048576}",
        "{type: nsa, heads: 2, kv_heads: 1, compress_block: 4, compress_stride: 2, select_block: 1000000, window: "
        "1000000000, compress_hidden: 3}"}) {
    CAPTURE(mixer);
    const std::string yaml = configuration(mixer, "none");
    CHECK(trains(f, yaml));
    const Preflight p = preflight(read_run_config(parse_config(yaml, "sizes.yaml"), f / "sizes.yaml"));
    CHECK(p.plan.total() < 60e6);
    std::string carried = yaml;
    carried.replace(carried.find("max_steps: 2"), 12, "max_steps: 2, carry_state: true");
    carried.replace(carried.find("tokenizer: char"), 15, "tokenizer: char, order: streams");
    trains(f, carried);  // moba and nsa remember every token and are refused
  }
}

TEST_CASE("sizes: a state has room for what it is made for, and says where it is full") {
  ParamStore store;
  const auto mixer = all_mixers.read(parse_config("{type: attention, heads: 2, window: 1000000}", "c"))
                         .build({.d_model = 8, .layer = 0, .layers = 1, .max_tokens = 16}, Scope(store));
  CHECK(site_of(*mixer)->bytes(5, DType::f32) == 2 * 5 * 8 * 4);
  CHECK(site_of(*mixer)->bytes(int64_t{1} << 40, DType::f32) == 2 * 999999 * 8 * 4);
  store.materialize(1, DType::f32);
  State state = mixer->make_state(1, 5, DType::f32);
  Context cx;
  cx.state = &state;
  const Tensor x = Tensor::zeros({1, 5, 8}, DType::f32);
  mixer->forward(x, cx);
  CHECK_THROWS_WITH_AS(mixer->forward(x, cx), doctest::Contains("room for 5"), ShapeError);
}

TEST_CASE("sizes: products beyond 64 bits are errors of memory") {
  CHECK_THROWS_AS(Shape({int64_t{1} << 40, int64_t{1} << 40}).numel(), MemoryError);
  CHECK_THROWS_AS(Shape({int64_t{1} << 62, 4}).numel(), MemoryError);
  CHECK_THROWS_AS(Tensor::zeros({int64_t{1} << 48}, DType::f32), MemoryError);
  CHECK(Shape({int64_t{1} << 47}).numel() == int64_t{1} << 47);
  CHECK(Shape({0, int64_t{1} << 40, 1 << 20}).numel() == 0);
  ParamStore store;
  for (int i = 0; i < 3; ++i) store.add("p" + std::to_string(i), {int64_t{1} << 46}, Init::zeros(), {});
  CHECK_THROWS_WITH_AS(store.as_meta(DType::f32), doctest::Contains("more than any memory"), MemoryError);
}
