// What is foreseen against what is taken.
#include "train/memory_refusal.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <thread>

#include "decode/generator.h"
#include "ffn/ffn.h"
#include "kernels/parallel.h"
#include "mixers/mixer.h"
#include "model/language_model.h"
#include "support/close.h"
#include "support/models.h"
#include "support/named.h"
#include "support/tiny_run.h"
#include "train/preflight.h"
#include "train/rehearsal.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

RunConfig read_run(const std::string& yaml) {
  return read_run_config(parse_config(yaml, "memory.yaml"), "memory.yaml");
}

std::string configuration(const std::string& mixer, const std::string& ffn, const std::string& more = "",
                          int layers = 1) {
  return fmt::format(
      "model: {{d_model: 64, layers: [{{repeat: {}, of: [{{mixer: {}, ffn: {}}}]}}]}}\n"
      "train: {{batch: 4, context: 64, lanes: 1, max_steps: 1{}}}\n",
      layers, mixer, ffn, more);
}

double part(const MemoryPlan& plan, std::string_view what) {
  for (const MemoryPart& p : plan.parts)
    if (p.what == what) return p.bytes;
  FAIL(what);
  return 0;
}

MemoryPlan planned(const RunConfig& c, int64_t vocab, int workers, const TextSizes& text = {}) {
  const auto model = model_on_shapes(c.model, vocab);
  return plan_memory(c, *model, workers, text);
}

// What a fresh thread's pool has taken from the system after a shard of the plan.
double taken_by_step(const RunConfig& c, int64_t vocab) {
  size_t bytes = 0;
  std::thread([&] {
    LanguageModel model(c.model, vocab);
    model.params().materialize(1, DType::f32);
    Slab gradient(model.params().slab_elements(), DType::f32);
    ParamGrads grads = model.params().gradients(gradient);
    ParamGrads::current = &grads;
    const auto n = static_cast<size_t>(c.train.batch * c.train.context);
    std::vector<int32_t> text(n, 1);
    const Tensor ids = Tensor::view_of(std::span(text), {c.train.batch, c.train.context});
    Context cx;
    cx.phase = Phase::train;
    cx.recompute = c.train.recomputes();
    for (int repeat = 0; repeat < 2; ++repeat) {
      Tape tape;
      const Tape::Recording recording(tape);
      const Tensor loss = model.loss(ids, ids, 1, cx);
      tape.backward(loss, Tensor::full({1}, DType::f64, 1));
    }
    ParamGrads::current = nullptr;
    bytes = BufferPool::local().reserved_bytes();
  }).join();
  return static_cast<double>(bytes);
}

// A step takes what was foreseen, which is returned.
double check_foreseen(const RunConfig& c) {
  const double foreseen = part(planned(c, 61, 1), "training steps"), taken = taken_by_step(c, 61);
  CAPTURE(to_yaml(write_run_config(c)));
  CAPTURE(foreseen);
  CAPTURE(taken);
  CHECK(taken < 1.03 * foreseen + 20e3);
  CHECK(foreseen < 1.25 * taken);
  return foreseen;
}

}  // namespace

TEST_CASE("memory: the optimizer's slots are counted, not assumed") {
  const RunConfig c = read_run(configuration("min_gru", "swiglu", ", shard_tokens: 64", 8));
  const auto model = model_on_shapes(c.model, 61);
  Rehearsal r(c, *model);
  const ParamStore& params = r.model().params();
  const auto kept = [&](std::string_view optimizer) {
    const SlotKinds slots = slots_of(Choice(all_optimizers, optimizer));
    double numbers = 0, elements = 0;
    for (const Parameter* p : params.sorted()) {
      numbers += static_cast<double>(p->extent) * static_cast<double>(slots(*p).size());
      elements += static_cast<double>(p->extent);
    }
    return numbers / elements;
  };
  CHECK(kept("adamw") == 2);
  CHECK(close(kept("muon"), 1, 0.1));
  const double slab = 4 * static_cast<double>(params.slab_elements());
  REQUIRE(slab < 2 << 20);  // larger ones are whole huge pages
  const double counted = part(planned(c, 61, 1), "weights, gradients and moments");
  CHECK(counted >= 4 * slab);  // one lane: values, a gradient, two moments, copies of dense weights
  CHECK(counted < 5 * slab);
  CHECK(part(planned(c, 61, 1), "checkpoints") == 12 * static_cast<double>(params.count()));
  // Muon: no second moment of matrices, but room for the iteration of the largest.
  RunConfig with_muon = c;
  with_muon.optim.type = Choice(all_optimizers, "muon");
  double matrices = 0, extent = 0;
  for (const Parameter* p : params.sorted())
    if (!p->traits.matrices.empty()) {
      matrices += static_cast<double>(p->shape.numel());
      extent += static_cast<double>(p->extent);
    }
  const auto room = static_cast<double>(all_optimizers.find("muon").workspace(params, 1));
  CHECK(room == 2 * 171 * 64 + 2 * 64 * 64);
  CHECK(all_optimizers.find("muon").workspace(params, 2) == 2 * static_cast<int64_t>(room));  // a matrix each
  const MemoryPlan plan = planned(with_muon, 61, 1);
  CHECK(part(plan, "weights, gradients and moments") == counted - 4 * extent + 4 * room);
  CHECK(part(plan, "checkpoints") == 12 * static_cast<double>(params.count()) - 4 * matrices);
}

TEST_CASE("memory: a step takes what was foreseen, with every mechanism of the lists") {
  const Threads one(1);
  const auto compare = [](const std::string& mixer, const std::string& ffn) {
    check_foreseen(read_run(configuration(mixer, ffn)));
  };
  for (const LayerInfo* m : all_mixers)
    if (m->causal_form) compare("{type: " + std::string(m->name) + "}", "none");
  // What ops need while they run counts where a head is wide, or modes are many.
  compare("{type: gla, heads: 1, expand_k: 4, expand_v: 4}", "none");
  compare("{type: s4d, state: 128}", "none");
  for (const LayerInfo* m : all_ffns)
    if (m->causal_form) compare("min_gru", "{type: " + std::string(m->name) + "}");
}

TEST_CASE("memory: a pool takes no more in steps that differ: samples are skipped, caches fill") {
  const Threads one(1);
  for (const std::string mixer :
       {"gla, type: layer_drop, rate: 0.3", "gla, type: layer_drop, rate: 0.9", "{type: attention, window: 40}"}) {
    RunConfig c = read_run(configuration(mixer, "swiglu", "", 3));
    c.train.batch = 32, c.train.context = 8, c.train.carry_state = mixer[0] == '{';
    const MemoryPlan plan = planned(c, 61, 1);
    size_t taken = 0;
    std::thread([&] {
      LanguageModel model(c.model, 61);
      model.params().materialize(1, DType::f32);
      const auto objective = c.objective.type.build();
      const auto optimizer = build_optimizer(c.optim, c.groups, model.params());
      Trainer trainer(model, *objective, *optimizer, plan_shards(c.train, model),
                      {.carry_state = c.train.carry_state, .buffers = plan.step_buffers});
      const std::vector<int32_t> text(32 * 8, 1);
      for (int64_t i = 0; i < 24; ++i)
        trainer.step(
            {.batch = 32, .tokens = 8, .first_sample = 32 * i, .inputs = text, .targets = text, .segments = {}}, i, 1,
            i % 12 > 0);
      taken = BufferPool::local().reserved_bytes();
    }).join();
    CAPTURE(mixer);
    CHECK(static_cast<double>(taken) < 1.03 * part(plan, "training steps") + 20e3);
  }
}

TEST_CASE("memory: exits and heads of an objective are foreseen, whichever a step has") {
  const Threads one(1);
  const auto taken = [](const std::string& objective, const std::string& recompute) {
    RunConfig c =
        read_run(configuration("min_gru", "swiglu", ", recompute: " + recompute, 6) + "objective: " + objective + "\n");
    const MemoryPlan plan = planned(c, 256, 1);
    size_t bytes = 0;
    std::thread([&] {
      LanguageModel model(c.model, 256);
      model.params().materialize(1, DType::f32);
      const auto built = c.objective.type.build();
      const auto optimizer = build_optimizer(c.optim, c.groups, model.params());
      Trainer trainer(model, *built, *optimizer, plan_shards(c.train, model),
                      {.recompute = c.train.recomputes(), .buffers = plan.step_buffers});
      TokenizedText text;
      text.tokens.assign(1000, 1);
      text.document_starts = {0};
      const auto order = build_order("shuffled_windows", text, {4, 64}, 1, false, *built);
      for (int64_t i = 0; i < 12; ++i) trainer.step(order->at(0), i, 1, true, static_cast<double>(i) / 12);
      bytes = BufferPool::local().reserved_bytes();
    }).join();
    const double foreseen = part(plan, "training steps");
    CAPTURE(objective);
    CAPTURE(foreseen);
    CAPTURE(bytes);
    CHECK(static_cast<double>(bytes) < 1.03 * foreseen + 20e3);
    CHECK(foreseen < 1.25 * static_cast<double>(bytes));
    return foreseen;
  };
  for (const std::string recompute : {"none", "block"}) {
    const double plain = taken("{type: next_token}", recompute);
    for (const char* curriculum : {"none", "rotational, every: 4", "rotational, every: 2", "gradual"})
      CHECK(taken("{early_exit: {scale: 0.5, curriculum: " + std::string(curriculum) + "}}", recompute) > plain);
    for (const char* form : {"parallel", "sequential"})
      CHECK(taken("{type: multi_token, tokens: 3, form: " + std::string(form) + "}", recompute) > plain);
  }
}

TEST_CASE("memory: blocks that are run again keep less, as foreseen") {
  const Threads one(1);
  for (const char* mixer : {"{type: attention, heads: 4}", "{type: gla, heads: 1, expand_k: 4, expand_v: 4}",
                            "{type: mamba2}", "{type: lstm}"}) {
    CAPTURE(mixer);
    const RunConfig plain = read_run(configuration(mixer, "swiglu", "", 6)),
                    again = read_run(configuration(mixer, "swiglu", ", recompute: block", 6));
    CHECK(check_foreseen(again) < 0.5 * part(planned(plain, 61, 1), "training steps"));
  }
}

TEST_CASE("memory: a sample that starts anew takes what was foreseen, where the last half is read at once") {
  const Threads one(1);
  const auto tokenizer = build_tokenizer("char", "abcdefgh");
  for (const std::string objective : {"{type: prefix_lm}", "{type: block_diffusion, block: 4}"}) {
    const RunConfig c = read_run(
        "model: {d_model: 64, layers: [{mixer: {type: attention, heads: 2}, ffn: mlp}]}\n"
        "objective: " +
        objective + "\ntrain: {context: 256, max_steps: 1}\n");
    const auto model = model_on_shapes(c.model, 8);
    const ContextLimit limit = context_limit(*model, 256);
    REQUIRE(limit.takes_effect(1, 300));
    double foreseen = 0;
    {
      Rehearsal r(c, *model);
      r.sample(1, 300, limit);
      foreseen = r.taken();
    }
    size_t taken = 0;
    std::thread([&] {
      LanguageModel real(c.model, 8);
      real.params().materialize(1, DType::f32);
      generate(real, *tokenizer, "a", {.tokens = 300, .context = limit});
      taken = BufferPool::local().reserved_bytes();
    }).join();
    CAPTURE(objective);
    CAPTURE(foreseen);
    CHECK(static_cast<double>(taken) < 1.03 * foreseen + 20e3);
    CHECK(foreseen < 1.5 * static_cast<double>(taken));
  }
}

TEST_CASE("memory: an evaluation of all exits takes what was foreseen") {
  const Threads one(1);
  const RunConfig c = read_run(configuration("min_gru", "mlp", "", 6));
  const auto tokenizer = build_tokenizer("byte", "");
  TokenizedText text;
  text.tokens.assign(4000, 1);
  text.document_starts = {0};
  text.bytes = 4000;
  const auto foreseen = [&](bool by_exit) {
    return evaluation_bytes(c, 256, {.tokens = 64, .by_exit = by_exit}, 4000, 1);
  };
  const auto taken = [&](bool by_exit) {
    size_t bytes = 0;
    std::thread([&] {
      LanguageModel model(c.model, 256);
      model.params().materialize(1, DType::f32);
      evaluate(model, next_token(), text, *tokenizer, {.tokens = 64, .by_exit = by_exit});
      bytes = BufferPool::local().reserved_bytes();
    }).join();
    return static_cast<double>(bytes);
  };
  // Of what is beside the pool (chosen tokens, scores) the plan has more: a number for each token and layer, at least.
  const double more = foreseen(true) - foreseen(false), host = 6 * 8 * 64 * 4.0;
  CAPTURE(more);
  CAPTURE(taken(true) - taken(false));
  CHECK(more >= host);
  CHECK(taken(true) - taken(false) < more - host + 20e3);
}

TEST_CASE("memory: of a prompt an encoder takes what it reads, and samples that fill in what they write") {
  const Threads one(1);
  const auto config = [](const std::string& objective) {
    return read_run(
        "model: {d_model: 64, block: {cross: {type: attention, heads: 2}, ffn: mlp}, encoder: {layers: [{mixer: {type: "
        "attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}]}\nobjective: " +
        objective + "\ntrain: {context: 64, max_steps: 1}\n");
  };
  const auto tokenizer = build_tokenizer("char", "abcdefgh");
  const auto foreseen = [&](const RunConfig& c, int64_t prompt, int64_t tokens) {
    const auto model = model_on_shapes(c.model, 8);
    Rehearsal r(c, *model);
    r.sample(prompt, tokens, context_limit(*model, 64));
    return r.taken();
  };
  const auto taken = [&](const RunConfig& c, int64_t prompt, int64_t tokens) {
    size_t bytes = 0;
    std::thread([&] {
      LanguageModel real(c.model, 8);
      real.params().materialize(1, DType::f32);
      generate(real, *tokenizer, std::string(static_cast<size_t>(prompt), 'a'),
               {.tokens = tokens, .context = context_limit(real, 64)});
      bytes = BufferPool::local().reserved_bytes();
    }).join();
    return static_cast<double>(bytes);
  };
  const RunConfig half = config("{type: seq2seq}"), spans = config("{type: span_corruption}");
  CHECK(foreseen(half, 5000, 100) == foreseen(half, 32, 100));  // the last 32 are read
  CHECK(foreseen(spans, 5000, 100) > foreseen(spans, 32, 100));
  for (const auto& [c, prompt] : {std::pair{&half, 5000}, {&half, 3}, {&spans, 700}}) {
    const double plan = foreseen(*c, prompt, 100), real = taken(*c, prompt, 100);
    CAPTURE(prompt);
    CAPTURE(plan);
    CHECK(real < 1.03 * plan + 20e3);
    CHECK(plan < 1.5 * real + 20e3);
  }
}

TEST_CASE("memory: evaluation, samples, batches and carried states are in the plan") {
  const std::string yaml =
      "model: {d_model: 16, layers: [{mixer: {type: attention, heads: 2, window: 8}}]}\n"
      "data: {order: streams}\ntrain: {batch: 4, context: 16, max_steps: 1}\n";
  const auto plan = [&](const std::string& change, TextSizes text = {1 << 20, 900000, 100000}) {
    ConfigNode root = parse_config(yaml, "memory.yaml");
    if (!change.empty()) apply_override(root, change, 1);
    return planned(read_run_config(root, "memory.yaml"), 256, 1, text);
  };
  const MemoryPlan plain = plan("");
  CHECK(plain.total() < 60e6);
  // 8 windows of 10,000 tokens: logits alone are 8 x 10,000 x 256 numbers.
  CHECK(part(plan("eval.tokens=10000"), "evaluation") > 8 * 10000 * 256 * 4.0);
  // One pass carries a window of 7 keys, whatever the split.
  CHECK(part(plan("eval.protocol=carried"), "evaluation") < 2e6);
  // Keys and values of all 99,999 inputs where every token is remembered.
  {
    ConfigNode root = parse_config(yaml, "memory.yaml");
    apply_override(root, "model.layers[0].mixer.window=0", 1);
    apply_override(root, "eval.protocol=carried", 2);
    const MemoryPlan all = planned(read_run_config(root), 256, 1, {1 << 20, 900000, 100000});
    CHECK(part(all, "evaluation") > 2 * 99999 * 16 * 4.0);
    apply_override(root, "eval.sample_tokens=1000000", 3);
    // Samples keep to the context of training, but not where distances beyond it are no news.
    CHECK(part(planned(read_run_config(root), 256, 1), "samples") < 2e6);
    apply_override(root, "model.layers[0].mixer.position=alibi", 4);
    CHECK(part(planned(read_run_config(root), 256, 1), "samples") > 2 * 2 * 1e6 * 16 * 4.0);
  }
  CHECK(part(plan("eval.tokens=1"), "evaluation") > 64 * 99999.0);  // a score for each of so many windows
  CHECK(part(plain, "batches") == 4 * 16 * 8);
  CHECK(part(plan("objective={type: multi_token, tokens: 4}"), "batches") == 4 * 16 * (8 + 3 * 4));
  const RunConfig of_plain = read_run(yaml);
  CHECK(part(plain, "checkpoints") ==
        3 * 4.0 * static_cast<double>(LanguageModel(of_plain.model, 256).params().count()));
  // Two copies of k and v [7, 16] and nothing else for each of the four rows.
  CHECK(part(plan("train.carry_state=true"), "carried states") == 2 * 4 * (2 * 7 * 16 * 4.0));
  CHECK(part(plan("train.carry_state=true"), "checkpoints") == part(plain, "checkpoints") + 4 * (2 * 7 * 16 * 4.0));
  CHECK(part(plain, "the corpus") == (1 << 20) + 4 * 1000000.0);
}

TEST_CASE("memory: an error names what takes the most, its place and its keys") {
  const auto refused = [](const std::string& yaml, double limit) {
    const RunConfig c = read_run(yaml);
    return message_of<MemoryError>([&] { require_memory(c, 256, planned(c, 256, 1), limit); });
  };
  const std::string small = "model: {d_model: 16, layers: [{mixer: min_gru}]}\ntrain: {max_steps: 1}\n";
  CHECK(refused(small, 1e9).empty());
  const std::string wide = refused(
      "model:\n  d_model: 16\n  layers:\n    - mixer: min_gru\n"
      "    - mixer: {type: nsa, heads: 2, kv_heads: 1, compress_hidden: 65536}\n"
      "train: {max_steps: 1, batch: 1, context: 16}\neval: {sample_tokens: 1, max_tokens: 16}\n",
      200e6);
  CAPTURE(wide);
  CHECK(wide.starts_with("memory.yaml:5:"));
  CHECK(wide.find("`nsa` of layer 1") != wide.npos);
  const std::string encoder = refused(
      "model:\n  d_model: 16\n  encoder:\n    layers:\n      - mixer: {type: attention, heads: 2}\n"
      "      - {mixer: {type: attention, heads: 2}, ffn: {type: moe, experts: 1024, expand: 32}}\n"
      "  layers: [{mixer: min_gru, cross: {type: attention, heads: 2}}]\nobjective: {type: seq2seq}\n"
      "train: {max_steps: 1, batch: 1, context: 16}\neval: {sample_tokens: 1, max_tokens: 16}\n",
      300e6);
  CAPTURE(encoder);
  CHECK(encoder.starts_with("memory.yaml:6:"));
  CHECK(encoder.find("`moe` of layer 1 of the encoder takes") != encoder.npos);
  const std::string evaluated = refused(small + "eval: {tokens: 1000000}\n", 1e9);
  CHECK(evaluated.starts_with("memory.yaml:3:"));
  CHECK(evaluated.find("lower eval.tokens") != evaluated.npos);
  const std::string batch = refused(
      "model: {d_model: 16, layers: [{mixer: min_gru}]}\ntrain:\n  max_steps: 1\n"
      "  batch: 1048576\n  context: 4096\n",
      1e9);
  CHECK(batch.find("train.batch") != batch.npos);
}

TEST_CASE("memory: a row of a stream reads its share of the split") {
  RunConfig c = read_run("model: {d_model: 16, layers: [{mixer: min_gru}]}\ntrain: {max_steps: 1, batch: 8}\n");
  CHECK(carried_tokens(c, 80000) == 10000);
  CHECK(carried_tokens(c, 100) == c.train.context);
  CHECK(carried_tokens(c, 0) == 1 << 30);
}
