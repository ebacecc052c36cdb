// Pass::reach and what mechanisms say of texts longer than those of training, for everything in the list.
#include "ffn/ffn.h"
#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 8, kReach = 4;

// The mechanism as the tests know it: `tiny`, and its variants on top.
std::vector<std::string> option_sets(const LayerInfo& info) {
  const ConfigNode tiny = parse_config(info.tiny, "tiny");
  std::vector<std::string> all = {to_yaml(tiny)};
  for (const std::string_view v : info.variants) all.push_back(to_yaml(merge(tiny, parse_config(v, "variant"))));
  return all;
}

Tensor run(const BuiltMixer& m, const Tensor& x, int64_t reach, State* state = nullptr) {
  Context cx;
  cx.ids = ids_of(x);
  cx.reach = reach;
  cx.state = state;
  return m.mixer->forward(x, cx);
}

}  // namespace

TEST_CASE("mixers: whoever keeps to a reach sees no further, and the same however the text is cut") {
  for (const LayerInfo* info : all_mixers) {
    if (!info->causal_form) continue;
    for (const std::string& options : option_sets(*info)) {
      INFO(std::string(info->name) << " " << options);
      BuiltMixer m(*info, options, kWidth, 1, 2);
      m.shake(0.3);
      const Tensor x = random({2, 3 * info->period + 8, kWidth}, 4);
      const int64_t n = x.dim(1);
      const LongText said = m.mixer->long_text(1 << 20);
      const Tensor whole = run(m, x, kReach), free = run(m, x, 0);
      if (!said.reach) {
        CHECK(max_diff(whole, free) == 0);
        continue;
      }
      CHECK(run(m, x, n).shape() == free.shape());
      CHECK(max_diff(run(m, x, n), free) < 1e-12);
      CHECK(max_diff(whole, free) > 1e-3);
      // States with room for what is looked back on, whatever the length.
      for (const int64_t cut : {int64_t{1}, kReach - 1, kReach + 1, n - 1}) {
        State s = m.mixer->make_state(2, kReach, DType::f64);
        const Tensor first = run(m, tokens(x, 0, cut), kReach, &s), second = run(m, tokens(x, cut, n), kReach, &s);
        CHECK(max_diff(first, tokens(whole, 0, cut)) < 1e-10);
        CHECK(max_diff(second, tokens(whole, cut, n)) < 1e-10);
      }
      State s = m.mixer->make_state(2, kReach, DType::f64);
      Context cx;
      cx.reach = kReach;
      cx.state = &s;
      for (int64_t t = 0; t < n; ++t) {
        cx.ids = ids_of(tokens(x, t, t + 1));
        CHECK(max_diff(m.mixer->forward(tokens(x, t, t + 1), cx), tokens(whole, t, t + 1)) < 1e-10);
      }
    }
  }
}

TEST_CASE("mixers: attention and latent attention with a reach depend on so many tokens and no other") {
  for (const char* yaml : {"{type: attention, heads: 2}", "{type: attention, heads: 2, window: 6, sinks: 2}",
                           "{type: attention, position: alibi}", "{type: mla, heads: 2}"}) {
    INFO(yaml);
    BuiltMixer m(yaml, kWidth);
    m.shake(0.3);
    const Tensor x = random({1, 20, kWidth}, 4);
    const bool sinks = std::string_view(yaml).find("sinks") != std::string_view::npos;
    for (const int64_t changed : {int64_t{0}, int64_t{5}, int64_t{11}}) {
      const Tensor other = x.clone();
      for (int64_t c = 0; c < kWidth; ++c) put(other, changed, c, -2 * at(x, changed, c));
      const Tensor a = run(m, x, kReach), b = run(m, other, kReach);
      for (int64_t t = 0; t < 20; ++t) {
        const bool reached = t >= changed && (t < changed + kReach - (sinks ? 2 : 0) || (sinks && changed < 2));
        CHECK((max_diff(tokens(a, t, t + 1), tokens(b, t, t + 1)) > 0) == reached);
      }
    }
  }
}

TEST_CASE("mixers: a reach counts the sinks, and leaves a token itself before them") {
  BuiltMixer m("{type: attention, heads: 2, position: alibi, window: 6, sinks: 3}", kWidth);
  m.shake(0.3);
  const Tensor x = random({1, 9, kWidth}, 4);
  for (const int64_t reach : {1, 2, 3})
    for (const int64_t changed : {0, 1}) {
      const Tensor other = x.clone();
      for (int64_t c = 0; c < kWidth; ++c) put(other, changed, c, -2 * at(x, changed, c));
      const Tensor a = run(m, x, reach), b = run(m, other, reach);
      for (int64_t t = changed; t < 9; ++t)
        CHECK((max_diff(tokens(a, t, t + 1), tokens(b, t, t + 1)) > 0) == (t == changed || changed < reach - 1));
    }
}

TEST_CASE("mixers: what the list says of longer texts is what the mechanisms say") {
  const auto check = [](std::span<const LayerInfo* const> all, auto build) {
    for (const LayerInfo* info : all) {
      INFO(std::string(info->name));
      bool met = false;
      std::vector<std::string> sets = option_sets(*info);
      sets.emplace_back("{}");
      for (const std::string& options : sets) {
        const std::unique_ptr<Layer> mixer = build(*info, options);
        for (const int64_t trained : {int64_t{2}, int64_t{1} << 20}) {
          const LongText t = mixer->long_text(trained);
          met = met || t.unseen;
          CHECK((t.unseen || !t.anew));
          const auto site = site_of(*mixer);
          const bool grows =
              std::ranges::any_of(site->all(), [](const StateField* f) { return f->growth == Growth::per_token; });
          CHECK((!grows || t.reach || t.anew));     // what is limited needs no more room than the limit
          CHECK((t.anew || t.reach || !t.unseen));  // there is always a way
        }
      }
      CHECK(met == !info->unseen.empty());
    }
  };
  check(all_mixers, [](const LayerInfo& info, const std::string& options) {
    ParamStore store;
    const auto o = info.options();
    read(*o, parse_config(options, "test"), info.name);
    return info.build(*o, {.d_model = 128, .layer = 1, .layers = 2, .max_tokens = 64}, Scope(store));
  });
  for (const LayerInfo* info : all_ffns) CHECK(info->unseen.empty());
}
