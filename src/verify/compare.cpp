#include "verify/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace effllm {
namespace {

double value_at(const Tensor& t, int64_t row, int64_t col) {
  if (t.dtype() == DType::i64) return static_cast<double>(t.view<int64_t>().row(row)[col]);
  if (t.dtype() == DType::i32) return static_cast<double>(t.view<int32_t>().row(row)[col]);
  return t.dtype() == DType::f64 ? t.view<double>().row(row)[col] : static_cast<double>(t.view<float>().row(row)[col]);
}

bool same_row(const Tensor& a, int64_t row_a, const Tensor& b, int64_t row_b) {
  for (int64_t c = 0; c < a.cols(); ++c)
    if (value_at(a, row_a, c) != value_at(b, row_b, c)) return false;
  return true;
}

// The smallest margin that either form saw at this token.
double margin_at(const Outcome& form, const Outcome& right, const std::string& place, int64_t row, int64_t right_row) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [outcome, r] : {std::pair{&form, row}, std::pair{&right, right_row}}) {
    const auto it = outcome->choices.find(place + ".margin");
    if (it == outcome->choices.end()) continue;
    for (int64_t c = 0; c < it->second.cols(); ++c) least = std::min(least, value_at(it->second, r, c));
  }
  return least;
}

}  // namespace

double scale_of(const Tensor& logits) {
  double most = 1;
  for (int64_t r = 0; r < logits.rows(); ++r)
    for (int64_t c = 0; c < logits.cols(); ++c) most = std::max(most, std::abs(value_at(logits, r, c)));
  return most;
}

void compare(Finding& finding, const Outcome& form, int64_t at, const Outcome& right, const std::string& label) {
  const int64_t batch = form.logits.dim(0), tokens = form.logits.dim(1), right_tokens = right.logits.dim(1);
  const int64_t n = std::min(tokens - at, right_tokens);
  const double scale = scale_of(right.logits);
  for (int64_t b = 0; b < batch; ++b) {
    int64_t end = n;
    for (const auto& [name, chosen] : form.choices) {
      const auto other = right.choices.find(name);
      if (!name.ends_with(".selected") || other == right.choices.end()) continue;
      const std::string place = name.substr(0, name.size() - std::string_view(".selected").size());
      for (int64_t t = 0; t < n; ++t) {
        const int64_t row = b * tokens + at + t, right_row = b * right_tokens + t;
        if (same_row(chosen, row, other->second, right_row)) continue;
        end = std::min(end, t);
        const double margin = margin_at(form, right, place, row, right_row);
        finding.margin = finding.flips++ ? std::min(finding.margin, margin) : margin;
      }
    }
    finding.compared += n;
    for (int64_t t = 0; t < end; ++t)
      for (int64_t c = 0; c < form.logits.cols(); ++c) {
        const double difference =
            std::abs(value_at(form.logits, b * tokens + at + t, c) - value_at(right.logits, b * right_tokens + t, c)) /
            scale;
        const double error = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
        if (error <= finding.worst) continue;
        finding.worst = error;
        finding.where = fmt::format("{}, sequence {}, token {}", label, b, at + t);
      }
  }
}

std::string choices_in_common(const Outcome& a, const Outcome& b) {
  constexpr std::string_view kSelected = ".selected";
  std::string all;
  for (const auto& [name, ours] : a.choices) {
    const auto theirs = b.choices.find(name);
    if (!name.ends_with(kSelected) || theirs == b.choices.end()) continue;
    const auto row_of = [](const Tensor& lists, int64_t r) {
      std::set<double> chosen;
      for (int64_t c = 0; c < lists.cols(); ++c)
        if (const double e = value_at(lists, r, c); e >= 0) chosen.insert(e);
      return chosen;
    };
    size_t both = 0, either = 0;
    for (int64_t r = 0; r < ours.rows(); ++r) {
      std::set<double> mine = row_of(ours, r), other = row_of(theirs->second, r);
      const size_t sum = mine.size() + other.size();
      mine.merge(other);
      either += mine.size();
      both += sum - mine.size();
    }
    all += fmt::format("{}{} {:.1f} % of {}", all.empty() ? "" : ", ", name.substr(0, name.size() - kSelected.size()),
                       either ? 100 * static_cast<double>(both) / static_cast<double>(either) : 100.0, either);
  }
  return all;
}

void judge(Finding& finding, bool choices_may_differ) {
  finding.passed = finding.worst <= finding.bound;
  const double allowed = choices_may_differ ? kFlipsAllowed * static_cast<double>(finding.compared) : 0;
  if (static_cast<double>(finding.flips) > allowed) finding.passed = false;
}

}  // namespace effllm
