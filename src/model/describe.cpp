#include "model/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "ops/last_tokens.h"

namespace effllm {
namespace {

Cost metered(const std::function<void()>& f) {
  const MetaMode meta;
  Meter meter;
  f();
  return meter.total;
}

// FLOPs of forward and backward of what f runs, on a tape: blocks may recompute.
double trained(const std::function<void()>& f) {
  const Cost c = metered([&] {
    Tape tape;
    const Tape::Recording recording(tape);
    f();
  });
  return c.forward_flops + c.backward_flops;
}

// Prefixes of one row: of so many tokens, or, of shapes alone, all that there may be.
Tensor prefix_of(std::optional<int64_t> tokens) {
  if (!tokens) {
    const MetaMode meta;
    return Tensor::dense({1}, DType::i64);
  }
  const Tensor prefix = Tensor::dense({1}, DType::i64);
  *prefix.data<int64_t>() = *tokens;
  return prefix;
}

// Of a row of so many tokens.
Context training(const ModelConfig& config, bool recompute, int64_t tokens) {
  Context cx;
  cx.phase = Phase::train;
  cx.recompute = recompute;
  cx.noisy = config.block > 0;
  if (config.prefix)
    cx.prefix =
        prefix_of(config.prefix_share ? std::optional(prefix_tokens(*config.prefix_share, tokens)) : std::nullopt);
  return cx;
}

// Of a prompt of so many tokens.
Context reading(const ModelConfig& config, int64_t tokens) {
  Context cx;
  if (config.prefix) cx.prefix = prefix_of(tokens);
  return cx;
}

int64_t parameters_under(const ParamStore& store, std::string_view prefix) {
  const auto& all = store.sorted();
  int64_t n = 0;
  const auto first =
      std::ranges::lower_bound(all, prefix, {}, [](const Parameter* p) { return std::string_view(p->name); });
  for (auto it = first; it != all.end() && std::string_view((*it)->name).starts_with(prefix); ++it)
    n += (*it)->shape.numel();
  return n;
}

Tensor ids(int64_t tokens) { return Tensor::dense({1, tokens}, DType::i32); }

// "gla + swiglu", "layer_drop: gla".
std::string parts_of(const Choice<LayerInfo>& block) {
  std::string names = block.name() == kDefaultBlock ? "" : fmt::format("{}: ", block.name());
  std::string_view between;
  for (const auto& part : parts(block))
    names += fmt::format("{}{}{}", std::exchange(between, " + "), part.choice->info().reads_memory ? "cross " : "",
                         part.choice->name());
  return names;
}

// How often a token is run where one is written at a step: all of its block at each, and once more when it is finished.
double runs_per_token(const ModelConfig& c) { return c.block ? static_cast<double>(c.block + 1) : 1; }

// With what an encoder makes of its part of a row of so many tokens, where the model has one.
Context with_memory(const LanguageModel& model, int64_t tokens, Context cx) {
  if (model.has_encoder()) cx.memory = model.encode(ids(model.config().parts_of(tokens).encoder), cx);
  return cx;
}

// What training runs of a row of so many tokens: where there are blocks, each token as it is and as it is seen.
int64_t run_tokens(int64_t tokens, const Context& cx) { return cx.noisy ? 2 * tokens : tokens; }

Tensor logits_of(const LanguageModel& model, int64_t tokens, const Context& prompt) {
  return model.logits(ids(model.config().parts_of(tokens).decoder), with_memory(model, tokens, prompt));
}

// With room for a row of so many tokens, and what is read of an encoder, whose cost is counted by nobody.
State state_for(const LanguageModel& model, int64_t tokens) {
  const Meter unheard;
  State s = model.make_state(1, model.config().parts_of(tokens).decoder + 1);
  if (model.has_encoder()) model.logits(ids(1), with_memory(model, tokens, {}), &s);
  return s;
}

double decode_flops_after(const LanguageModel& model, int64_t tokens) {
  if (!model.config().causal) return metered([&] { model.logits(ids(tokens), {}); }).forward_flops;
  return runs_per_token(model.config()) * metered([&] {
                                            State s = state_for(model, tokens);
                                            model.logits(ids(1), {}, &s);
                                          }).forward_flops;
}

// What a training step computes: the loss of the model and those of its further heads. Where it has exits too, those of
// the last `exits` layers before the last.
void training_losses(const LanguageModel& model, int64_t tokens, const Context& train, int64_t exits = 0) {
  if (model.further() > 0) {
    const std::vector<Tensor> all = model.bodies(
        ids(tokens), [&](int64_t) { return ids(tokens); }, train, nullptr);
    model.head_loss(all[0], ids(tokens), 1);
    for (int64_t ahead = 2; ahead < model.further() + 2; ++ahead)
      model.further_loss(ahead, all[static_cast<size_t>(ahead - 1)], ids(tokens), 1);
    return;
  }
  const auto exit = [&](int64_t layers, const Tensor& x) {
    if (layers < model.layers() && layers >= model.layers() - exits) model.head_loss(x, ids(tokens), 1);
  };
  const int64_t own = model.config().parts_of(tokens).decoder;
  const Tensor x = model.body(ids(run_tokens(own, train)), with_memory(model, tokens, train), nullptr, exit);
  model.head_loss(train.noisy ? last_tokens(x, own) : x, ids(own), 1);
}

Tensor stream_of(const LanguageModel& model, int64_t tokens) {
  const Tensor x = Tensor::empty({1, tokens, model.config().d_model}, DType::f32);
  return Tape::recording() ? Tape::recording()->leaf(x) : x;
}

// FLOPs of training on one sequence.
double training_flops(const LanguageModel& model, int64_t tokens, const Context& train) {
  const double exit = trained([&] { model.head_loss(stream_of(model, tokens), ids(tokens), 1); });
  return trained([&] { training_losses(model, tokens, train); }) + model.config().exits * exit;
}

// For backward, of one sequence.
double kept_bytes(const LanguageModel& model, int64_t tokens, const Context& train) {
  const MetaMode meta;
  Tape tape;
  const Tape::Recording recording(tape);
  training_losses(model, tokens, train, model.config().most_exits);
  return static_cast<double>(tape.kept_bytes());
}

LengthCost cost_at(const LanguageModel& model, int64_t tokens, bool recompute) {
  const auto n = static_cast<double>(tokens);
  const Context train = training(model.config(), recompute, tokens), prompt = reading(model.config(), tokens);
  const RowParts parts = model.config().parts_of(tokens);
  return {
      .tokens = tokens,
      .train_flops = training_flops(model, tokens, train) / n,
      .prefill_flops = metered([&] { logits_of(model, tokens, prompt); }).forward_flops / n,
      .decode_flops = decode_flops_after(model, tokens),
      .kept_bytes = kept_bytes(model, tokens, train) / n,
      .state_bytes = model.config().causal ? model.decoding_site().bytes(parts.decoder, DType::f32, parts.encoder) : 0,
      .cache_bytes = 2 * model.config().d_model * model.layers() * tokens * static_cast<int64_t>(sizeof(float))};
}

}  // namespace

ModelCost count_cost(const ModelConfig& config, int64_t vocab, int64_t context, bool recompute) {
  LanguageModel model(config, vocab);
  model.params().as_meta(DType::f32);
  ModelCost c;
  c.context = context;
  const auto n = static_cast<double>(context);
  const Context train = training(config, recompute, context), prompt = reading(config, context);
  const auto values = [](int64_t tokens, int64_t width) {
    const Tensor x = Tensor::empty({1, tokens, width}, DType::f32);
    return Tape::recording() ? Tape::recording()->leaf(x) : x;
  };
  const auto stream = [&](int64_t tokens) { return values(tokens, config.d_model); };
  const RowParts parts = config.parts_of(context);
  const auto shelved = [&](const Site& site, int64_t tokens, Context cx) {
    cx.shelf = std::make_shared<Shelf>();
    cx.ids = ids(tokens);
    for (const SharedValue& v : site.needed()) cx.shelf->emplace(v.name, values(tokens, v.width));
    return cx;
  };
  const auto layer = [&](int64_t i, int64_t tokens, const Context& cx, State* state) {
    Context with = shelved(model.layer_site(i), tokens, cx);
    if (model.has_encoder() && !state) with.memory.rows = stream(parts.encoder);
    return model.run(stream(tokens), i, i + 1, with, state);
  };
  const auto add = [&](LayerCost row, const std::function<Tensor(const Context&)>& whole,
                       const std::function<void()>& one) {
    row.train_flops = trained([&] { whole(train); }) / n;
    row.prefill_flops = metered([&] { whole(prompt); }).forward_flops / n;
    row.decode_flops = config.causal ? runs_per_token(config) * metered(one).forward_flops : n * row.prefill_flops;
    if (row.what.starts_with("encoder")) row.decode_flops = 0;
    if (!config.causal) row.state_bytes = 0;
    c.total.parameters += row.parameters;
    c.total.prefill_flops += row.prefill_flops;
    c.total.decode_flops += row.decode_flops;
    c.total.state_bytes += row.state_bytes;
    c.layers.push_back(std::move(row));
  };

  const ParamStore& store = model.params();
  add(
      {.what = "embedding",
       .parameters = parameters_under(store, "embedding.") + parameters_under(store, "positions.")},
      [&](const Context& cx) { return model.embed(ids(run_tokens(parts.decoder, cx)), cx, nullptr); },
      [&] { model.embed(ids(1), {}, nullptr); });
  if (config.encoder) {
    add(
        {.what = "encoder",
         .parameters = parameters_under(store, "encoder.positions.") + parameters_under(store, "encoder.final_norm.")},
        [&](const Context& cx) { return model.encoder_norm(model.embed_encoder(ids(parts.encoder), cx)); }, [] {});
    for (int64_t i = 0; i < model.encoder_layers(); ++i) {
      const LayerSpec& spec = config.encoder->layers[static_cast<size_t>(i)];
      add(
          {.what = fmt::format("encoder.layers.{} {}{}", i, parts_of(spec.block),
                               spec.same_as ? fmt::format(" (as {})", *spec.same_as) : ""),
           .parameters = spec.same_as ? 0 : parameters_under(store, fmt::format("encoder.layers.{}.", i))},
          [&, i](const Context& cx) { return model.run_encoder(stream(parts.encoder), i, i + 1, cx); }, [] {});
    }
  }
  for (int64_t i = 0; i < model.layers(); ++i) {
    const LayerSpec& spec = config.layers[static_cast<size_t>(i)];
    LayerCost row{.what = fmt::format("layers.{} {}{}", i, parts_of(spec.block),
                                      spec.same_as ? fmt::format(" (as {})", *spec.same_as) : ""),
                  .parameters = spec.same_as ? 0 : parameters_under(store, fmt::format("layers.{}.", i)),
                  .state_bytes = model.layer_site(i).bytes(parts.decoder, DType::f32, parts.encoder)};
    add(
        std::move(row), [&, i](const Context& cx) { return layer(i, run_tokens(parts.decoder, cx), cx, nullptr); },
        [&, i] {
          State s = state_for(model, context);
          layer(i, 1, {}, &s);
        });
  }
  // Of the whole model, whichever layers share them; their FLOPs are those of the layers.
  const int64_t shared = store.count() - c.total.parameters - parameters_under(store, "head.") -
                         parameters_under(store, "heads.") - parameters_under(store, "final_norm.");
  if (shared > 0) c.layers.push_back({.what = "shared by layers", .parameters = shared});
  c.total.parameters += shared;
  add(
      {.what = config.tie_embeddings ? "head (tied)" : "head",
       .parameters = parameters_under(store, "head.") + parameters_under(store, "final_norm.")},
      [&](const Context& cx) {
        return cx.phase == Phase::train ? model.head_loss(stream(parts.decoder), ids(parts.decoder), 1).loss
                                        : model.head(stream(parts.decoder));
      },
      [&] {
        model.head(Tensor::empty({1, config.d_model}, DType::f32));
      });

  // What training alone runs, and remembers where it carries states on.
  const auto add_training = [&](LayerCost row, double flops) {
    row.train_flops = flops / n;
    c.total.parameters += row.parameters;
    c.layers.push_back(std::move(row));
  };
  if (config.exits > 0)
    add_training({.what = fmt::format("exits before the last layer, {:.3g} a step", config.exits)},
                 config.exits * trained([&] { model.head_loss(stream(context), ids(context), 1); }));
  for (int64_t ahead = 2; ahead < model.further() + 2; ++ahead)
    add_training({.what = fmt::format("heads.{} {}", ahead, parts_of(config.layers.back().block)),
                  .parameters = parameters_under(store, fmt::format("heads.{}.", ahead))},
                 trained([&] {
                   const Context cx = shelved(model.further_site(ahead), context, train);
                   const Tensor y = model.further_body(ahead, stream(context), ids(context), cx, nullptr);
                   model.further_loss(ahead, y, ids(context), 1);
                 }));

  // Of the whole, which is more than its rows where several heads read one stream: their gradients are added up.
  c.total.train_flops = training_flops(model, context, train) / n;
  c.active_parameters = store.active();
  c.kept_bytes = kept_bytes(model, context, train);
  for (int64_t tokens : {int64_t{256}, int64_t{1024}, int64_t{4096}, int64_t{16384}})
    c.lengths.push_back(cost_at(model, tokens, recompute));
  return c;
}

double train_flops_per_token(const LanguageModel& model, int64_t context, bool recompute) {
  return training_flops(model, context, training(model.config(), recompute, context)) / static_cast<double>(context);
}

double model_flops_per_token(const ModelConfig& config, int64_t vocab, int64_t context) {
  LanguageModel model(config, vocab);
  model.params().as_meta(DType::f32);
  const Context train = training(config, false, context);
  const double exit = metered([&] { model.head_loss(stream_of(model, context), ids(context), 1); }).dense_flops;
  return 3 * (metered([&] { training_losses(model, context, train); }).dense_flops + config.exits * exit) /
         static_cast<double>(context);
}

}  // namespace effllm
