#include "objectives/objective_checks.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "config/expect.h"
#include "support/paths.h"
#include "train/trainer.h"

namespace effllm::test {

std::unique_ptr<Objective> read_objective(const std::string& yaml) {
  return all_objectives.read(parse_config(yaml, "o.yaml")).build();
}

Tensor ids_of(const Ids& ids, int64_t rows) {
  const Tensor t = Tensor::dense({rows, static_cast<int64_t>(ids.size()) / rows}, DType::i32);
  std::ranges::copy(ids, t.data<int32_t>());
  return t;
}

std::vector<double> nats_by(const Tensor& logits, const Tensor& ids) {
  std::vector<double> all;
  for (int64_t i = 0; i < ids.numel(); ++i) {
    double z = 0;
    for (int64_t q = 0; q < logits.cols(); ++q) z += std::exp(at(logits, i, q));
    all.push_back(std::log(z) - at(logits, i, ids.data<int32_t>()[i]));
  }
  return all;
}

double mean(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

Ids text_of(int64_t number, int64_t length, int64_t vocab) {
  Ids text;
  for (int64_t i = 0; i < length; ++i, number /= vocab) text.push_back(static_cast<int32_t>(number % vocab));
  return text;
}

int golden_files(const std::string& name, const std::function<void(const SafetensorsFile&)>& f) {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(kSourceDir) / "tests/golden")) {
    const std::string file = entry.path().filename().string();
    if (!file.starts_with(name + ".")) continue;
    CAPTURE(file);
    ++found;
    f(SafetensorsFile(entry.path()));
  }
  return found;
}

Context context_in(const SafetensorsFile& file) {
  Context cx;
  cx.seed = static_cast<uint64_t>(number_in(file, "seed"));
  cx.step = number_in(file, "step");
  cx.samples = number_in(file, "sample");
  return cx;
}

BatchRows rows_in(const SafetensorsFile& file, const Tensor& ids) {
  return {ids, ids, {}, number_in(file, "place"), number_in(file, "batch")};
}

void check_hidden(const Objective& o, const LanguageModel& model, const SafetensorsFile& file,
                  const std::function<std::vector<double>(const Tensor& seen, const Tensor& ids)>& nats) {
  constexpr int64_t kRows = 3;
  const Tensor ids = ids_of(stored<int32_t>(file, "text"), kRows);
  const auto weights = stored<double>(file, "weights");
  const auto expected = [&](const Ids& seen, const std::vector<double>& of_tokens, int64_t row) {
    const std::vector<double> all = nats(ids_of(seen, kRows), ids);
    double sum = 0;
    for (int64_t i = 0; i < ids.numel(); ++i)
      if (row < 0 || i / ids.dim(1) == row) sum += of_tokens[static_cast<size_t>(i)] * all[static_cast<size_t>(i)];
    return sum;
  };
  const Context cx = context_in(file);
  CHECK(at(o.loss(model, rows_in(file, ids), 0.5, cx, nullptr), 0, 0) ==
        doctest::Approx(0.5 * expected(stored<int32_t>(file, "seen"), weights, -1)).epsilon(1e-12));

  const auto draws = stored<int32_t>(file, "draws");
  const auto draw_weights = stored<double>(file, "draw_weights");
  const int64_t known = number_in(file, "known"), tokens = ids.dim(1);
  const Tensor targets = ids.clone();
  for (int64_t i = 0; i < ids.numel(); ++i)
    if (i % tokens < known) targets.data<int32_t>()[i] = kIgnoredTarget;
  const auto count = static_cast<int64_t>(draws.size()) / ids.numel();
  const auto scores =
      o.score(model, {ids, targets, {}}, {.first = number_in(file, "row"), .samples = count, .seed = cx.seed});
  for (int64_t b = 0; b < kRows; ++b) {
    std::vector<double> each;
    for (int64_t k = 0; k < count; ++k) {
      const auto from = static_cast<ptrdiff_t>(k * ids.numel()), to = from + static_cast<ptrdiff_t>(ids.numel());
      each.push_back(expected({draws.begin() + from, draws.begin() + to},
                              {draw_weights.begin() + from, draw_weights.begin() + to}, b));
    }
    double squares = 0;
    for (const double x : each) squares += (x - mean(each)) * (x - mean(each));
    const auto k = static_cast<double>(count);
    CHECK(scores[static_cast<size_t>(b)].nats == doctest::Approx(mean(each)).epsilon(1e-12));
    if (o.bound())
      CHECK(scores[static_cast<size_t>(b)].variance == doctest::Approx(squares / (k * (k - 1))).epsilon(1e-9));
  }
}

double check_gradient(const LanguageModel& model, const std::function<Tensor()>& loss) {
  const ParamStore& params = model.params();
  const Slab gradient(params.slab_elements(), DType::f64);
  loss_gradient(model, loss, gradient);
  double extra = 0;
  for (const Parameter* p : params.sorted())
    for (int64_t i = 0; i < p->shape.numel(); i += p->name == "embedding.extra" ? 1 : 3) {
      const int64_t row = i / p->shape.cols(), col = i % p->shape.cols();
      const double before = at(p->value, row, col);
      double slope = 0;
      for (const double sign : {1.0, -1.0}) {
        put(p->value, row, col, before + sign * 1e-6);
        slope += sign * at(loss(), 0, 0) / 2e-6;
      }
      put(p->value, row, col, before);
      CHECK_MESSAGE(std::abs(at(params.view(gradient, *p), row, col) - slope) < 1e-7, p->name);
      if (p->name == "embedding.extra") extra += std::abs(slope);
    }
  return extra;
}

void check_noise(const Objective& o, const LanguageModel& model, int64_t vocab) {
  TokenizedText text;
  const RandomStream numbers(3, "noise test");
  for (uint64_t i = 0; i < 70; ++i)
    text.tokens.push_back(static_cast<int32_t>(numbers.below(i, static_cast<uint64_t>(vocab))));
  const Batch batch = build_order("streams", text, {6, 10}, 1, false, o)->at(0);
  Context cx;
  const auto loss = [&](int64_t first, int64_t rows) {
    cx.samples = 100 + first;
    return at(o.loss(model, batch.rows(first, rows), 1, cx, nullptr), 0, 0);
  };
  for (cx.step = 0; cx.step < 3; ++cx.step) {
    const double whole = loss(0, 6);
    for (const int64_t cut : {1, 2, 5})
      CHECK(loss(0, cut) + loss(cut, 6 - cut) == doctest::Approx(whole).epsilon(1e-12));
  }
  std::vector<double> all = {loss(0, 6)};
  ++cx.step, all.push_back(loss(0, 6));
  ++cx.seed, all.push_back(loss(0, 6));
  cx.samples = 500;
  all.push_back(at(o.loss(model, batch.rows(0, 6), 1, cx, nullptr), 0, 0));
  std::ranges::sort(all);
  CHECK(std::ranges::adjacent_find(all) == all.end());
}

void check_learns(const Objective& o, std::string_view yaml) {
  const auto model = build_model_for(o, yaml, 11, 16, DType::f32);
  const RandomStream numbers(1, "objective test");
  TokenizedText text;
  for (uint64_t i = 0; i < 100; ++i) text.tokens.push_back(static_cast<int32_t>(numbers.below(i, 11)));
  OptimOptions options;
  options.lr = 0.03;
  const auto optimizer = build_optimizer(options, {}, model->params());
  Trainer trainer(*model, o, *optimizer, plan_shards(4, 16, 1, 64, 1000), {});
  const Batch batch = build_order("streams", text, {4, 16}, 1, false, o)->at(0);
  const double first = trainer.step(batch, 0, 1).loss;
  double last = first;
  for (int i = 0; i < 30; ++i) last = trainer.step(batch, 0, 1).loss;
  CHECK(last < first / 2);
}

}  // namespace effllm::test
