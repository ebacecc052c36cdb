// The forms of the fused scans: how each is called, and its coefficients in f64.
#pragma once
#include <cmath>

#include "cores/scan/fused_scan.h"
#include "support/tensors.h"

namespace effllm::test {

struct Coefficients {
  double a, b;
};
struct ScanForm {
  const char* name;
  int inputs;
  bool row;
  Candidate candidate;
  Coefficients (*at)(bool first, double x0, double x1, double x2, double row);
  ScanResult (*run)(const Tensors& x, const Tensor& h0, const Tensor& segments);  // x: x0, x1, x2, row
  const Kernel<ScanSignature<float>>& f;
  const Kernel<ScanSignature<double>>& d;
};

inline double logistic(double x) { return 1 / (1 + std::exp(-x)); }
inline double positive(double u) { return u >= 0 ? u + 0.5 : logistic(u); }
inline double ratio(double f, double i) {
  return 1 / (1 + std::exp(std::log1p(std::exp(-f)) - std::log1p(std::exp(-i))));
}

inline const ScanForm kScanForms[] = {
    {"gated", 2, false, Candidate::linear,
     [](bool, double z, double u, double, double) {
       return Coefficients{1 - logistic(z), logistic(z) * u};
     },
     [](const Tensors& x, const Tensor& h0, const Tensor& segments) {
       return gated_scan(x[0], x[1], Candidate::linear, h0, segments);
     },
     kernel::gated_scan<float>, kernel::gated_scan<double>},
    {"gated, positive", 2, false, Candidate::positive,
     [](bool, double z, double u, double, double) {
       return Coefficients{1 - logistic(z), logistic(z) * positive(u)};
     },
     [](const Tensors& x, const Tensor& h0, const Tensor& segments) {
       return gated_scan(x[0], x[1], Candidate::positive, h0, segments);
     },
     kernel::gated_scan<float>, kernel::gated_scan<double>},
    {"ratio", 3, false, Candidate::linear,
     [](bool, double f, double i, double u, double) {
       return Coefficients{ratio(f, i), ratio(i, f) * u};
     },
     [](const Tensors& x, const Tensor& h0, const Tensor& segments) {
       return ratio_scan(x[0], x[1], x[2], Candidate::linear, h0, segments);
     },
     kernel::ratio_scan<float>, kernel::ratio_scan<double>},
    {"ratio, positive", 3, false, Candidate::positive,
     [](bool, double f, double i, double u, double) {
       return Coefficients{ratio(f, i), ratio(i, f) * positive(u)};
     },
     [](const Tensors& x, const Tensor& h0, const Tensor& segments) {
       return ratio_scan(x[0], x[1], x[2], Candidate::positive, h0, segments);
     },
     kernel::ratio_scan<float>, kernel::ratio_scan<double>},
    {"floored", 2, true, Candidate::linear,
     [](bool, double f, double u, double, double floor) {
       const double a = floor + (1 - floor) * logistic(f);
       return Coefficients{a, (1 - a) * u * logistic(u)};
     },
     [](const Tensors& x, const Tensor& h0, const Tensor& segments) {
       return floored_scan(x[0], x[1], x[3], h0, segments);
     },
     kernel::floored_scan<float>, kernel::floored_scan<double>},
    {"power", 3, true, Candidate::linear,
     [](bool first, double r, double i, double u, double rate) {
       const double log_a = -8 * rate * logistic(r);
       return Coefficients{std::exp(log_a), (first ? 1 : std::sqrt(-std::expm1(2 * log_a))) * logistic(i) * u};
     },
     [](const Tensors& x, const Tensor& h0, const Tensor& segments) {
       return power_scan(x[0], x[1], x[2], x[3], h0, segments);
     },
     kernel::power_scan<float>, kernel::power_scan<double>}};

}  // namespace effllm::test
