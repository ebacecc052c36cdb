// The ops that a training step spends its time in, at the shapes of small models.
#include <fmt/format.h>

#include <cmath>

#include "base/random.h"
#include "bench/op_bench.h"
#include "cores/attention/attention.h"
#include "cores/cell/cell.h"
#include "cores/conv/fft_conv.h"
#include "cores/conv/modal.h"
#include "cores/delta/delta.h"
#include "cores/gla/gla.h"
#include "cores/route/dispatch.h"
#include "cores/scan/fused_scan.h"
#include "cores/scan/selective_scan.h"
#include "cores/ttt/ttt.h"
#include "kernels/gla.h"
#include "kernels/optimizer.h"
#include "kernels/pointwise.h"
#include "kernels/probe.h"
#include "nn/param_store.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/dropout.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

namespace effllm {
namespace {

Tensor random(const Shape& shape, double scale = 1, double shift = 0) {
  const Tensor t = Tensor::empty(shape, DType::f32);
  const RandomStream numbers(1, "bench");
  for (int64_t r = 0; r < t.rows(); ++r)
    for (int64_t c = 0; c < t.cols(); ++c)
      t.view<float>().row(r)[c] =
          static_cast<float>(shift + scale * numbers.normal(static_cast<uint64_t>(r * t.cols() + c)));
  return t;
}

// A leaf that lives as long as the parameters of a model, so that its gradient is computed too.
struct Weights {
  ParamStore store;
  std::unique_ptr<Slab> gradients;
};

using Function = std::function<Tensor(const Tensor& x, const Tensor& w)>;

// f(x, w) with the gradients of both.
BenchCase with_weight(std::string name, Shape x, Shape w, const Function& f) {
  const double tokens = static_cast<double>(x.rows());
  std::string shape = x.str() + (w.rank() ? " " + w.str() : "");
  return {std::move(name), std::move(shape), tokens, [=] {
            const auto weights = std::make_shared<Weights>();
            Parameter& p = (Scope(weights->store) / "w").param("weight", w, Init::normal(0.02));
            weights->store.materialize(1, DType::f32);
            weights->gradients = std::make_unique<Slab>(weights->store.slab_elements(), DType::f32);
            BenchWork work;
            work.input = random(x);
            work.gradients = std::make_shared<ParamGrads>(weights->store.gradients(*weights->gradients));
            work.run = [weights, value = p.value, f](const Tensor& in) { return f(in, value); };
            return work;
          }};
}

// f(x, data) with the gradient of x; `data` is made by each thread for itself.
BenchCase with_data(std::string name, Shape x, const std::function<Tensor()>& data, const Function& f) {
  const double tokens = static_cast<double>(x.rows());
  std::string shape = x.str();
  return {std::move(name), std::move(shape), tokens, [=] {
            BenchWork work;
            work.input = random(x);
            work.run = [f, other = data()](const Tensor& in) { return f(in, other); };
            return work;
          }};
}

BenchCase of_input(std::string name, Shape x, const std::function<Tensor(const Tensor&)>& f) {
  return with_data(
      std::move(name), x, [] { return Tensor(); }, [f](const Tensor& in, const Tensor&) { return f(in); });
}

// q, k and v are columns of one tensor, as a projection leaves them.
BenchCase attention_case(int64_t width, int64_t tokens, double dropout) {
  const int64_t heads = 4, batch = std::max<int64_t>(1, 512 / tokens), n = heads * width;
  AttentionOptions o{.heads = heads, .kv_heads = heads};
  o.dropout = dropout;
  return of_input(fmt::format("attention{}, {} heads of {}", dropout > 0 ? " with dropout" : "", heads, width),
                  {batch, tokens, 3 * n}, [=](const Tensor& x) {
                    const auto p = split_columns(x, {n, n, n});
                    return attention(p[0], p[1], p[2], o);
                  });
}

BenchCase gla_case(int64_t width, Decay decay) {
  const int64_t heads = 4, n = heads * width, decays = decay == Decay::scalar ? heads : n;
  const char* names[] = {"no decay", "a decay a head", "a decay a key"};
  return with_data(
      fmt::format("gla, {} heads of {}, {}", heads, width, names[static_cast<int>(decay)]), {2, 256, 3 * n},
      [=] {
        return decay == Decay::none ? Tensor() : random({2, 256, decays}, 0.02, -0.1);
      },
      [=](const Tensor& x, const Tensor& log_decay) {
        const auto p = split_columns(x, {n, n, n});
        return gla(p[0], p[1], p[2], log_decay, {}, {}, {.heads = heads, .decay = decay}).o;
      });
}

// beta such that keys of normal numbers count as keys of length one with beta 1.
BenchCase delta_case(int64_t width, bool decays) {
  const int64_t heads = 4, n = heads * width;
  return with_data(
      fmt::format("delta, {} heads of {}, {}", heads, width, decays ? "a decay a head" : "no decay"), {2, 256, 3 * n},
      [=] {
        const Tensor gates = Tensor::full({2, 256, 2 * heads}, DType::f32, 1 / static_cast<double>(width));
        fill(gates.columns(heads, heads), -0.1);
        return gates;
      },
      [=](const Tensor& x, const Tensor& gates) {
        const auto p = split_columns(x, {n, n, n});
        return delta(p[0], p[1], p[2], gates.columns(0, heads), decays ? gates.columns(heads, heads) : Tensor(), {}, {},
                     {.heads = heads})
            .o;
      });
}

// x, step sizes, b and c are columns of one tensor.
BenchCase selective_scan_case(int64_t columns, int64_t states) {
  return with_data(
      fmt::format("selective_scan, {} states", states), {2, 256, 2 * columns + 2 * states},
      [=] {
        return random({columns, states});
      },
      [=](const Tensor& in, const Tensor& a_log) {
        const auto p = split_columns(in, {columns, columns, states, states});
        return selective_scan({p[0], pointwise(Pointwise::softplus, p[1]), a_log, p[2], p[3], {}, {}, {}}).y;
      });
}

// 1024 rows of 8 experts, unevenly: those of expert e are about e + 1 times as many as those of the first.
BenchCase grouped_linear_case(int64_t in, int64_t out) {
  constexpr int64_t experts = 8, rows = 1024;
  const auto choices = [] {
    const Tensor all = Tensor::dense({2, rows / 2, 1}, DType::i64);
    const RandomStream numbers(1, "experts");
    for (int64_t r = 0; r < rows; ++r) {
      const double u = numbers.uniform(static_cast<uint64_t>(r));
      all.data<int64_t>()[r] = static_cast<int64_t>((std::sqrt(1 + 4 * u * experts * (experts + 1)) - 1) / 2);
    }
    return all;
  };
  return with_weight(
      fmt::format("grouped_linear {} -> {}, {} experts", in, out, experts), {rows, in}, {experts * out, in},
      [to = dispatch_to(choices(), experts)](const Tensor& x, const Tensor& w) { return grouped_linear(x, w, to); });
}

// Decays of S4D's start: `pairs` modes for each of 128 channels.
Tensor bench_decays(int64_t pairs) {
  const Tensor decay = Tensor::empty({2 * pairs, 128}, DType::f32);
  for (int64_t p = 0; p < pairs; ++p)
    for (int64_t c = 0; c < 128; ++c) {
      const double step = 0.001 * std::pow(100.0, static_cast<double>(c) / 127);
      const double angle = step * 3.14159 * static_cast<double>(p), size = std::exp(-step / 2);
      decay.view<float>().row(p)[c] = static_cast<float>(size * std::cos(angle));
      decay.view<float>().row(pairs + p)[c] = static_cast<float>(size * std::sin(angle));
    }
  return decay;
}
void add_state_spaces(std::vector<BenchCase>& all) {
  all.push_back(selective_scan_case(256, 16));
  all.push_back(with_data(
      "modal_scan, 32 modes", {2, 256, 128}, [] { return bench_decays(32); },
      [](const Tensor& u, const Tensor& decay) {
        return modal_scan(u, {decay, decay}, {}, {}, {}).y;
      }));
  all.push_back(of_input("modal_kernel, 32 modes", {64, 128}, [](const Tensor& decay) {
    return modal_kernel({decay, decay.untracked()}, {}, 256);
  }));
  for (int64_t tokens : {64, 256, 1024})
    all.push_back(with_data(
        "fft_conv", {std::max<int64_t>(1, 512 / tokens), tokens, 128},
        [=] {
          return random({tokens, 128});
        },
        [](const Tensor& u, const Tensor& k) { return fft_conv(u, k); }));
};

// q, k, v and the inner learning rates are columns of one tensor.
BenchCase ttt_case(int64_t width) {
  const int64_t heads = 4, n = heads * width, mini_batch = 16;
  const Shape x{2, 256, 3 * n + heads};
  return {fmt::format("ttt, {} heads of {}", heads, width), x.str(), static_cast<double>(x.rows()), [=] {
            BenchWork work;
            work.input = random(x);
            const TttModel model{Tensor::full({mini_batch}, DType::f32, 0.01), Tensor::full({n}, DType::f32, 1),
                                 Tensor::zeros({n}, DType::f32), random({heads, width, width}, 0.02),
                                 Tensor::zeros({n}, DType::f32)};
            work.run = [=](const Tensor& in) {
              const auto p = split_columns(in, {n, n, n, heads});
              return ttt(p[0], p[1], p[2], p[3], model, {}, {}, {.heads = heads}).o;
            };
            return work;
          }};
}

// Loops over memory that no cache holds: AdamW, and the triad that it is compared with. f(n, four arrays of n).
BenchCase over_memory(std::string name, double flops, double bytes,
                      void (*f)(int64_t, float*, float*, float*, float*)) {
  constexpr int64_t n = int64_t{8} << 20;
  Cost cost;
  cost.forward_flops = flops * n;
  cost.forward_bytes = bytes * n;
  const auto prepare = [=] {
    BenchWork work;
    const Tensor memory = Tensor::dense({4, n}, DType::f32);
    fill(memory, 0.5);
    work.input = Tensor::zeros({1}, DType::f32);
    work.run = [=](const Tensor& x) {
      const View<float> m = memory.view<float>();
      f(n, m.row(0), m.row(1), m.row(2), m.row(3));
      return x.untracked();
    };
    return work;
  };
  return {std::move(name), fmt::format("[{}]", n), static_cast<double>(n), prepare, cost};
}

void run_adamw(int64_t n, float* gradient, float* value, float* m, float* v) {
  AdamwArgs args{};
  args.lr = 1e-3;
  args.beta1 = 0.9;
  args.beta2 = 0.99;
  args.eps = 1e-8;
  args.grad_scale = args.bias1 = args.bias2 = 0.5;
  kernel::adamw<float>(args, n, gradient, value, m, v);
}
void run_triad(int64_t n, float* a, float* b, float* c, float*) { kernel::triad<float>(b, c, 0.5F, a, n); }

}  // namespace

std::vector<BenchCase> op_cases() {
  std::vector<BenchCase> all;
  for (const auto& [in, out] : {std::pair{128, 512}, {512, 128}, {256, 1024}, {384, 1152}, {384, 1536}, {1536, 384}})
    all.push_back(with_weight(fmt::format("linear {} -> {}", in, out), {2, 256, in}, {out, in},
                              [](const Tensor& x, const Tensor& w) { return linear(x, w); }));
  for (const auto& [in, out] : {std::pair{256, 512}, {512, 256}}) {  // experts beside one product of as many rows
    all.push_back(with_weight(fmt::format("linear {} -> {}", in, out), {4, 256, in}, {out, in},
                              [](const Tensor& x, const Tensor& w) { return linear(x, w); }));
    all.push_back(grouped_linear_case(in, out));
  }
  all.push_back(with_weight("rms_norm", {2, 256, 384}, {384},
                            [](const Tensor& x, const Tensor& w) { return rms_norm(x, w, 1e-6); }));
  all.push_back(with_weight("layer_norm", {2, 256, 384}, {384},
                            [](const Tensor& x, const Tensor& w) { return layer_norm(x, w, {}, 1e-5); }));
  for (Pointwise f : {Pointwise::gelu, Pointwise::gelu_tanh, Pointwise::silu, Pointwise::sigmoid, Pointwise::tanh,
                      Pointwise::softplus})
    all.push_back(
        of_input(std::string(to_string(f)), {2, 256, 1536}, [f](const Tensor& x) { return pointwise(f, x); }));
  all.push_back(of_input("swiglu", {2, 256, 2048}, [](const Tensor& x) { return swiglu(x); }));
  all.push_back(of_input("add", {2, 256, 384}, [](const Tensor& x) { return add(x, x.untracked()); }));
  all.push_back(
      of_input("dropout", {2, 256, 384}, [](const Tensor& x) { return dropout(x, 0.2, RandomStream(1, "bench"), 0); }));
  for (int64_t width : {32, 64})
    for (int64_t tokens : {64, 256, 1024}) all.push_back(attention_case(width, tokens, 0));
  all.push_back(attention_case(64, 256, 0.2));
  for (int64_t width : {32, 64, 128})
    for (Decay d : {Decay::none, Decay::scalar, Decay::key}) all.push_back(gla_case(width, d));
  for (int64_t width : {32, 64, 128})
    for (bool decays : {false, true}) all.push_back(delta_case(width, decays));
  for (int64_t width : {32, 64}) all.push_back(ttt_case(width));
  all.push_back(of_input("gated_scan, 256 columns", {2, 256, 512}, [](const Tensor& x) {
    const auto p = split_columns(x, {256, 256});
    return gated_scan(p[0], p[1], Candidate::positive).h;
  }));
  all.push_back(with_weight("lstm_cell, 256 columns", {8, 256, 1024}, {1024, 256},
                            [](const Tensor& x, const Tensor& r) { return lstm_cell(x, r).h; }));
  all.push_back(with_weight("gru_cell, 256 columns", {8, 256, 768}, {768, 256}, [](const Tensor& x, const Tensor& r) {
    return gru_cell(x, r, Tensor::zeros({256}, DType::f32)).h;
  }));
  add_state_spaces(all);
  all.push_back(over_memory("adamw", 12, 28, run_adamw));
  all.push_back(over_memory("triad a = b + s c", 2, 12, run_triad));
  return all;
}

}  // namespace effllm
