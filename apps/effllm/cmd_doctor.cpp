#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "base/json.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/terminal.h"
#include "base/text.h"
#include "base/version.h"
#include "bench/roofline.h"
#include "commands.h"
#include "json_output.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "model/language_model.h"
#include "store/file.h"

namespace effllm::app {
namespace {

// A small model's gradient against a central difference along a random direction, in f64; the relative error.
double gradient_error() {
  const ModelConfig config = read_model_config(parse_config("{d_model: 8, layers: [{mixer: {type: attention, heads: "
                                                            "2}, ffn: {type: swiglu}}, {mixer: {type: gla, heads: 2}}, "
                                                            "{mixer: {type: min_gru}, ffn: {type: mlp}}]}",
                                                            "doctor"),
                                               9);
  LanguageModel model(config, 11);
  ParamStore& params = model.params();
  params.materialize(3, DType::f64);
  std::vector<int32_t> ids(18), targets(18);
  const RandomStream numbers(7, "doctor");
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(numbers.below(i, 11)), targets[i] = static_cast<int32_t>(numbers.below(100 + i, 11));
  const Tensor x = Tensor::view_of(std::span(ids), {2, 9}), y = Tensor::view_of(std::span(targets), {2, 9});
  Slab gradient(params.slab_elements(), DType::f64), direction(params.slab_elements(), DType::f64);
  ParamGrads grads = params.gradients(gradient);
  ParamGrads::current = &grads;
  {
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor loss = model.loss(x, y, 1, {});
    tape.backward(loss, Tensor::full({1}, DType::f64, 1));
  }
  ParamGrads::current = nullptr;
  grads.zero_unwritten();
  double analytic = 0;
  for (int64_t i = 0; i < params.slab_elements(); ++i) {
    direction.data<double>()[i] = numbers.normal(1000 + static_cast<uint64_t>(i));
    analytic += gradient.data<double>()[i] * direction.data<double>()[i];
  }
  const auto loss_at = [&](double h) {
    double* v = params.values().data<double>();
    for (int64_t i = 0; i < params.slab_elements(); ++i) v[i] += h * direction.data<double>()[i];
    const double l = *model.loss(x, y, 1, {}).data<double>();
    for (int64_t i = 0; i < params.slab_elements(); ++i) v[i] -= h * direction.data<double>()[i];
    return l;
  };
  constexpr double kStep = 1e-6;
  const double numeric = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
  return std::abs(analytic - numeric) / std::max(1e-12, std::abs(numeric));
}

// The rate that others are compared with, and whether the library for it runs as fast as the machine can.
std::string products() {
  constexpr double kSlow = 0.6;  // of the multiply-adds; every library and CPU seen so far is above 0.8
  const GemmProbe probe;
  double best = 0;
  for (int i = 0; i < 8; ++i) best = std::max(best, probe());
  const double peak = fma_peak(0.1), part = best / peak;
  // The set of instructions in use may lack a fast multiply-add that the library has.
  if (part > 1.2) return fmt::format("{:.1f} GFLOP/s ({} multiply-adds alone: {:.1f})", best, isa(), peak);
  return fmt::format("{:.1f} GFLOP/s, {} of {:.1f} by multiply-adds in registers{}", best, human_percent(part), peak,
                     part < kSlow ? ": SLOW, a fallback of the library, or other programs run" : "");
}

std::string write_test() {
  const auto file = std::filesystem::current_path() / fmt::format(".effllm-doctor-{}", getpid());
  try {
    write_file_atomic(file, "ok");
    std::error_code error;
    std::filesystem::remove(file, error);
    return "ok";
  } catch (const Error& e) {
    return e.what();
  }
}

// libgomp's threads spin while they wait for each other. That is fast on CPUs of one's own, and takes the time of
// whoever works on CPUs that are shared.
std::string waiting_advice(double load) {
  const char* set = std::getenv("OMP_WAIT_POLICY");
  const std::string policy = set ? set : "not set";
  std::string lower = policy;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "passive" || threads() == 1) return policy;
  return fmt::format("{}: threads spin while they wait; {}set OMP_WAIT_POLICY=passive where other programs {} the CPUs",
                     policy, load > 0.5 ? "something else runs: " : "", load > 0.5 ? "share" : "may share");
}

// A line, or as many as fit the output's width.
void print_row(const std::string& what, const std::string& text) {
  constexpr int kText = 22;  // the column at which it begins
  const int columns = output_columns();
  const std::vector<std::string> lines =
      columns > 0 ? wrapped(text, static_cast<size_t>(std::max(columns - kText, 20))) : std::vector{text};
  for (size_t i = 0; i < lines.size(); ++i) fmt::print("{:<{}}{}\n", i ? "" : what, kText, lines[i]);
}

}  // namespace

ExitCode doctor(const Common& common) {
  const double error = gradient_error();
  std::string sets;
  for (std::string_view s : isas()) sets += (sets.empty() ? "" : ", ") + std::string(s);
  std::ifstream load_file("/proc/loadavg");
  double load = 0;
  load_file >> load;
  const std::vector<std::vector<std::string>> rows = {
      {"effllm", fmt::format("{} ({}, {}, {})", build_info().version, build_info().git, build_info().build_type,
                             build_info().compiler)},
      {"CPU", cpu_model()},
      {"instruction sets", fmt::format("{} (using {})", sets, isa())},
      {"threads", fmt::format("{} of {} available", threads(), available_cpus())},
      {"memory", human_bytes(memory_limit())},
      {"dense products", gemm_backend()},
      {"f32 1024^3 product", products()},
      {"load", load > 0.5 ? fmt::format("{:.2f}: something else runs; timings will suffer", load)
                          : fmt::format("{:.2f}", load)},
      {"OMP_WAIT_POLICY", waiting_advice(load)},
      {"writing here", write_test()},
      {"gradient check (f64)", fmt::format("{} (relative error {:.1e})", error < 1e-6 ? "ok" : "FAILED", error)},
  };
  if (common.json) {
    nlohmann::json j;
    for (const auto& r : rows) j[r[0]] = r[1];
    print_json(j);
  } else {
    for (const auto& r : rows) print_row(r[0], r[1]);
  }
  if (error >= 1e-6) throw NumericalError("the gradient check failed: don't trust this build");
  return ExitCode::ok;
}

ExitCode version(const Common& common) {
  const BuildInfo& b = build_info();
  if (common.json)
    print_json({{"version", b.version},
                {"git", b.git},
                {"build_type", b.build_type},
                {"compiler", b.compiler},
                {"gemm", gemm_backend()}});
  else
    fmt::print("effllm {} ({}, {}, {}; dense products: {})\n", b.version, b.git, b.build_type, b.compiler,
               gemm_backend());
  return ExitCode::ok;
}

}  // namespace effllm::app
