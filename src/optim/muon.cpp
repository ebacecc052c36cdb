// Muon: momentum made orthogonal. Each matrix between hidden features moves by the nearest orthogonal matrix of its
// momentum, so that all directions are learned alike; AdamW takes the rest: embeddings, heads, vectors, norms, filters.
//
//   m' = mu m + (1 - mu) g,  u = mu m' + (1 - mu) g,  W' = (1 - lr decay) W - lr r(rows, columns) orthogonal(u)
//
// With normuon the rows of o = orthogonal(u) are evened out, and its norm is kept: s' = beta s + (1 - beta) mean(o^2)
// of each row, o / sqrt(s') times |o| / |o / sqrt(s')| (Li et al. 2025, arXiv:2510.05491). With cautious_decay a weight
// decays only where the step makes it smaller (Chen et al. 2025, arXiv:2510.12402).
//
// A weight of several matrices (Traits::matrices: q|k|v, gates) is taken apart. Keeps one number for each element of a
// matrix. Jordan et al. 2024, kellerjordan.github.io/posts/muon.
#include <algorithm>
#include <cmath>

#include "kernels/parallel.h"
#include "optim/adamw.h"
#include "optim/orthogonal.h"

namespace effllm {
namespace optimizers {
extern const OptimizerInfo muon;
}
namespace {

struct MuonOptions final : Options {
  double momentum = 0.95, norm_eps = 1e-7;
  bool nesterov = true;
  int64_t iterations = 5;
  std::string coefficients = "quintic", adjust_lr = "original";
  std::optional<double> adamw_lr;
  bool normuon = false, cautious_decay = false;
  double beta2_rows = 0.95;
  void visit(OptionVisitor& v) override {
    v("adamw_lr", adamw_lr,
      "Sets the learning rate of what AdamW takes, which is all but matrices between hidden features; default: lr.",
      between(0, 100));
    v("momentum", momentum, "Sets the decay of the mean of gradients, a factor a step.", between(0, 0.99999));
    v("nesterov", nesterov, "Looks ahead: takes the mean as the same gradient once more would make it.");
    v("iterations", iterations, "Sets the steps of the iteration that makes a matrix orthogonal.", between(1, 99));
    v("coefficients", coefficients,
      "Chooses the polynomials of the iteration: one for all steps, or the best for each.",
      {"quintic", "polar_express"});
    v("norm_eps", norm_eps, "Sets the least norm that a matrix is divided by; polar_express adds it to the norm.",
      between(1e-20, 1));
    v("adjust_lr", adjust_lr,
      "Chooses the factor on lr by shape: sqrt(max(1, rows/columns)), or 0.2 sqrt(max(rows, columns)), with which lr "
      "and decay of AdamW suit.",
      {"original", "match_rms_adamw"});
    v("normuon", normuon, "Divides each row of the orthogonal matrix by the root of its mean square so far.");
    v("beta2_rows", beta2_rows, "Sets the decay of these means, a factor a step.", between(0, 0.99999));
    v("cautious_decay", cautious_decay, "Lets a weight of a matrix decay only where the step makes it smaller.");
  }
};

bool is_matrix(const Parameter& p) { return !p.traits.matrices.empty(); }

// f(rows, columns) of every matrix of the store.
template <class F>
void each_matrix(const ParamStore& store, F&& f) {
  for (const Parameter* p : store.sorted())
    for (const int64_t rows : p->traits.matrices) f(rows, p->shape.cols());
}

class Muon final : public Optimizer {
 public:
  using Options = MuonOptions;

  Muon(const Options& own, const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
      : Optimizer(o, groups, store),
        options_(own),
        orthogonal_(options_.coefficients, options_.iterations, options_.norm_eps),
        rest_(o, store, [](const Parameter& p) { return !is_matrix(p); }),
        workspace_(workspace(store), store.dtype()) {
    if (!own.normuon && own.beta2_rows != Options().beta2_rows)
      throw_at(own.mark, "muon: beta2_rows does nothing without `normuon: true`");
  }

  static std::vector<SlotKind> slots(const effllm::Options& own, const Parameter& p) {
    if (!is_matrix(p)) return adamw_slots();
    std::vector<SlotKind> all = {{"momentum"}};
    if (dynamic_cast<const Options&>(own).normuon) all.push_back({"v_rows", SlotOf::row});
    return all;
  }

  // Numbers for one matrix and its iteration.
  static int64_t workspace(const ParamStore& store) {
    int64_t most = 0;
    each_matrix(store, [&](int64_t rows, int64_t columns) {
      most = std::max(most, rows * columns + Orthogonal::scratch(rows, columns));
    });
    return most;
  }

  double flops() const override {
    double all = 0;
    each_matrix(store_, [&](int64_t rows, int64_t columns) { all += orthogonal_.flops(rows, columns); });
    return all;
  }

 private:
  void update(const Slab& gradient, double scale, double lr_factor) override {
    rest_(gradient, scale, lr_factor, steps(), settings(), slots_);
    dispatch_float(store_.dtype(), [&]<class T>() {
      for (size_t i = 0; i < settings().size(); ++i) {
        const Parameter& p = *store_.sorted()[i];
        const Tensor g = store_.view(gradient, p), m = is_matrix(p) ? slots_.view(0, i) : Tensor();
        int64_t first = 0;
        for (const int64_t rows : p.traits.matrices) {
          const double lr = settings()[i].lr * lr_factor, keep = 1 - lr * settings()[i].weight_decay;
          const auto part = [&](const Tensor& t) {
            const View<T> all = t.view<T>();
            return View<T>{all.row(first), rows, all.cols, all.stride};
          };
          move<T>(part(g), part(m), part(p.value), options_.normuon ? slots_.data<T>(1, i) + first : nullptr,
                  static_cast<T>(scale), static_cast<T>(keep), static_cast<T>(lr * factor(rows, p.shape.cols())));
          first += rows;
        }
      }
    });
  }

  // One matrix: value' = keep value - step orthogonal(update of the momentum). v_rows: normuon's, or null.
  template <class T>
  void move(View<T> gradient, View<T> momentum, View<T> value, T* v_rows, T scale, T keep, T step) {
    const int64_t rows = value.rows, columns = value.cols;
    const T mu = static_cast<T>(options_.momentum), rest = static_cast<T>(1 - options_.momentum);
    T* x = workspace_.data<T>();
    const auto by_rows = [&](auto&& f) {
      parallel_for(rows, std::max<int64_t>(1, kBlock / columns), [&](int64_t from, int64_t to) {
        for (int64_t r = from; r < to; ++r) f(r);
      });
    };
    by_rows([&](int64_t r) {
      const T* g = gradient.row(r);
      T *m = momentum.row(r), *u = x + r * columns;
      for (int64_t c = 0; c < columns; ++c) {
        const T own = rest * (scale * g[c]);
        m[c] = mu * m[c] + own;
        u[c] = options_.nesterov ? mu * m[c] + own : m[c];
      }
    });
    T* o = orthogonal_(x, rows, columns, x + rows * columns);
    if (v_rows) even_out(o, rows, columns, v_rows);
    by_rows([&](int64_t r) {
      T* w = value.row(r);
      for (int64_t c = 0; c < columns; ++c) {
        const T by = step * o[r * columns + c];
        const bool decays = !options_.cautious_decay || by * w[c] >= 0;
        w[c] = (decays ? keep : T(1)) * w[c] - by;
      }
    });
  }

  // The rows of o [rows, columns] divided by the roots of their mean squares so far, all by one number that keeps the
  // norm of o.
  template <class T>
  void even_out(T* o, int64_t rows, int64_t columns, T* v_rows) const {
    const T beta = static_cast<T>(options_.beta2_rows), rest = static_cast<T>(1 - options_.beta2_rows);
    T before = 0, after = 0;
    for (int64_t r = 0; r < rows; ++r) {
      T sum = 0;
      for (int64_t c = 0; c < columns; ++c) sum += o[r * columns + c] * o[r * columns + c];
      v_rows[r] = beta * v_rows[r] + rest * (sum / static_cast<T>(columns));
      const T factor = 1 / (std::sqrt(v_rows[r]) + static_cast<T>(kRowEps));
      for (int64_t c = 0; c < columns; ++c) o[r * columns + c] *= factor;
      before += sum;
      after += sum * factor * factor;
    }
    const T back = std::sqrt(before) / (std::sqrt(after) + static_cast<T>(kRowEps));
    for (int64_t i = 0; i < rows * columns; ++i) o[i] *= back;
  }

  // What the learning rate is multiplied by for a matrix of this shape.
  double factor(int64_t rows, int64_t columns) const {
    const auto r = static_cast<double>(rows), c = static_cast<double>(columns);
    return options_.adjust_lr == "original" ? std::sqrt(std::max(1.0, r / c)) : 0.2 * std::sqrt(std::max(r, c));
  }

  static constexpr int64_t kBlock = 16384;  // elements
  static constexpr double kRowEps = 1e-10;
  MuonOptions options_;
  Orthogonal orthogonal_;
  AdamwPass rest_;
  Slab workspace_;
};

double lr_of(const OptimOptions& o, const Parameter& p) {
  const auto* own = dynamic_cast<const MuonOptions*>(&o.type.options());
  return own && !is_matrix(p) ? own->adamw_lr.value_or(o.lr) : o.lr;
}

}  // namespace

namespace optimizers {

constinit const OptimizerInfo muon = OptimizerInfo::of<Muon>({
    .name = "muon",
    .title = "momentum made orthogonal for matrices between hidden features, AdamW for the rest",
    .paper = "Jordan et al. 2024, kellerjordan.github.io/posts/muon",
    .source =
        "KellerJordan/Muon@f90a42b, muon.py, as torch.optim.Muon of PyTorch 2.13 has it; polar_express: "
        "NoahAmsel/PolarExpress@7f0fb57, polar_express/basic.py; normuon: zichongli5/NorMuon@d45c9a4, normuon.py; "
        "cautious_decay: karpathy/nanochat@92d63d4, nanochat/optim.py",
    .deviations =
        "the iteration is computed in f32, not bf16; the norm is at least norm_eps, as in PyTorch, where the authors "
        "add it; weights that hold several matrices side by side (q|k|v, gates, heads of a block-diagonal one) are "
        "taken apart; lr, weight decay and AdamW's beta1, beta2 and eps have the defaults of adamw, not 0.02, 0, 0.9, "
        "0.95 and 1e-10",
    .slots = Muon::slots,
    .workspace = Muon::workspace,
    .lr = lr_of,
});

}  // namespace optimizers
}  // namespace effllm
