// The value of a sum of products modulo a small number, at the sign at its end.
//
//   2 + 3 * 4 - 1 =                      scored: 3 (modulus 5): products first
//   ( ( 2 + 3 ) * ( 4 - 1 ) ) =          scored: 0; with brackets each operator stands in a pair of them
#include <fmt/format.h>

#include <algorithm>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct ModularArithmeticOptions final : TaskOptions {
  int64_t modulus = 5, length = 40, min_length = 3;
  bool brackets = false;
  void visit(OptionVisitor& v) override {
    v("modulus", modulus, "Sets the modulus; digits are 0 to one less.", between(2, 1 << 10));
    v("brackets", brackets, "Puts each operator with what it works on in brackets.");
    v("length", length, "Sets the tokens of the longest samples, the sign at the end among them.", between(2, 1 << 16));
    v("min_length", min_length,
      "Sets the same of the shortest; each number of operators that fits between is as likely.", between(2, 1 << 16));
    TaskOptions::visit(v);
  }
};

class ModularArithmetic final : public Task {
 public:
  using Options = ModularArithmeticOptions;
  ModularArithmetic(const Options& o, uint64_t) : o_(o), each_(o.brackets ? 4 : 2) {
    least_ = (std::max<int64_t>(0, o.min_length - 2) + each_ - 1) / each_;
    most_ = (o.length - 2) / each_;
    if (least_ > most_)
      throw_at(o.mark,
               fmt::format("no sample has from data.min_length {} to data.length {} tokens: {} operators make {}",
                           o.min_length, o.length, least_, each_ * least_ + 2));
  }
  int64_t vocab() const override { return o_.modulus + (o_.brackets ? 6 : 4); }
  std::string symbol(int32_t id) const override {
    return id < o_.modulus ? fmt::format("{}", id) : std::string(1, "+-*=()"[id - o_.modulus]);
  }
  int64_t longest() const override { return each_ * most_ + 2; }

  Sample sample(Draws& draws) const override {
    const int64_t operators = draws.between(least_, most_);
    std::vector<int32_t> tokens;
    const int64_t value = o_.brackets ? expression(operators, draws, tokens) : sum(operators, draws, tokens);
    tokens.push_back(static_cast<int32_t>(o_.modulus + 3));
    Sample s = unscored(std::move(tokens));
    s.targets.back() = static_cast<int32_t>(value);
    s.difficulty = operators + 1;
    return s;
  }

 private:
  int64_t digit(Draws& draws, std::vector<int32_t>& tokens) const {
    const int64_t d = draws.below(o_.modulus);
    tokens.push_back(static_cast<int32_t>(d));
    return d;
  }
  // 0: plus, 1: minus, 2: times.
  int64_t sign(Draws& draws, std::vector<int32_t>& tokens) const {
    const int64_t op = draws.below(3);
    tokens.push_back(static_cast<int32_t>(o_.modulus + op));
    return op;
  }
  int64_t reduced(int64_t n) const { return (n % o_.modulus + o_.modulus) % o_.modulus; }

  int64_t sum(int64_t operators, Draws& draws, std::vector<int32_t>& tokens) const {
    int64_t total = 0, product = digit(draws, tokens);
    for (int64_t i = 0; i < operators; ++i) {
      const int64_t op = sign(draws, tokens), d = digit(draws, tokens);
      if (op == 2) {
        product = reduced(product * d);
      } else {
        total = reduced(total + product);
        product = op == 0 ? d : -d;
      }
    }
    return reduced(total + product);
  }
  // Of the operators but one each number stands left of it as likely.
  int64_t expression(int64_t operators, Draws& draws, std::vector<int32_t>& tokens) const {
    if (operators == 0) return digit(draws, tokens);
    tokens.push_back(static_cast<int32_t>(o_.modulus + 4));
    const int64_t left = draws.below(operators), a = expression(left, draws, tokens);
    const int64_t op = sign(draws, tokens), b = expression(operators - 1 - left, draws, tokens);
    tokens.push_back(static_cast<int32_t>(o_.modulus + 5));
    return reduced(op == 0 ? a + b : op == 1 ? a - b : a * b);
  }

  Options o_;
  int64_t each_, least_ = 0, most_ = 0;  // tokens that an operator adds; operators of a sample
};

}  // namespace

extern constinit const TaskInfo modular_arithmetic = TaskInfo::of<ModularArithmetic>({
    .name = "modular_arithmetic",
    .title = "the value of an expression modulo a number",
    .paper = "Deletang et al. 2022, arXiv:2207.02098; Grazzi et al. 2024, arXiv:2411.12537",
    .source = "none: written from the papers",
    .deviations =
        "brackets: true has no unary minus, and trees whose numbers of operators to the left are drawn alike; "
        "the answer is told at `=`",
    .difficulty = "numbers",
});

}  // namespace effllm::tasks
