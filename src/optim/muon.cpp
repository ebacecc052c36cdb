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
#include <atomic>
#include <cmath>
#include <functional>

#include "kernels/optimizer.h"
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

// A matrix, or a part of a weight that holds several.
struct Piece {
  size_t parameter;     // in store order
  int64_t first, rows;  // of the parameter's rows
  int64_t columns;
  double work() const { return static_cast<double>(std::min(rows, columns) * rows) * static_cast<double>(columns); }
};

// The most work first, so that threads that take the next one end together.
std::vector<Piece> pieces_of(const ParamStore& store) {
  std::vector<Piece> all;
  for (size_t i = 0; i < store.sorted().size(); ++i) {
    const Parameter& p = *store.sorted()[i];
    int64_t first = 0;
    for (const int64_t rows : p.traits.matrices) all.push_back({i, first, rows, p.shape.cols()}), first += rows;
  }
  std::ranges::stable_sort(all, std::greater(), &Piece::work);
  return all;
}

// How many threads work at once on matrices of their own: all of them where there are enough matrices, else one, with
// all threads within its products.
int workers_for(const std::vector<Piece>& pieces, int threads) {
  return std::ssize(pieces) >= 2 * threads ? threads : 1;
}

class Muon final : public Optimizer {
 public:
  using Options = MuonOptions;

  Muon(const Options& own, const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
      : Optimizer(o, groups, store),
        options_(own),
        orthogonal_(options_.coefficients, options_.iterations, options_.norm_eps),
        rest_(o, store, [](const Parameter& p) { return !is_matrix(p); }),
        pieces_(pieces_of(store)),
        workers_(workers_for(pieces_, threads())),
        workspace_(workers_ * room_of(pieces_), store.dtype()) {
    if (!own.normuon && own.beta2_rows != Options().beta2_rows)
      throw_at(own.mark, "muon: beta2_rows does nothing without `normuon: true`");
  }

  static std::vector<SlotKind> slots(const effllm::Options& own, const Parameter& p) {
    if (!is_matrix(p)) return adamw_slots();
    std::vector<SlotKind> all = {{"momentum"}};
    if (dynamic_cast<const Options&>(own).normuon) all.push_back({"v_rows", SlotOf::row});
    return all;
  }

  static int64_t workspace(const ParamStore& store, int threads) {
    const std::vector<Piece> pieces = pieces_of(store);
    return workers_for(pieces, threads) * room_of(pieces);
  }

  double flops() const override {
    double all = 0;
    for (const Piece& p : pieces_) all += orthogonal_.flops(p.rows, p.columns);
    return all;
  }

 private:
  void update(const Slab& gradient, double scale, double lr_factor) override {
    rest_(gradient, scale, lr_factor, steps(), settings(), slots_);
    dispatch_float(store_.dtype(), [&]<class T>() {
      const int64_t room = room_of(pieces_);
      std::atomic<size_t> next = 0;
      const auto work = [&](int worker) {
        for (size_t i = next++; i < pieces_.size(); i = next++)
          move<T>(pieces_[i], gradient, scale, lr_factor, workspace_.data<T>() + worker * room);
      };
      const int workers = std::min(workers_, threads());
      workers > 1 ? run_workers(workers, work) : work(0);
    });
  }

  // Numbers for the largest matrix and its iteration.
  static int64_t room_of(const std::vector<Piece>& pieces) {
    int64_t most = 0;
    for (const Piece& p : pieces) most = std::max(most, p.rows * p.columns + Orthogonal::scratch(p.rows, p.columns));
    return most;
  }

  template <class T>
  void move(const Piece& piece, const Slab& gradient, double scale, double lr_factor, T* room) {
    const size_t i = piece.parameter;
    const Parameter& p = *store_.sorted()[i];
    const double lr = settings()[i].lr * lr_factor, keep = 1 - lr * settings()[i].weight_decay;
    const auto part = [&](const Tensor& t) {
      const View<T> all = t.view<T>();
      return View<T>{all.row(piece.first), piece.rows, all.cols, all.stride};
    };
    move<T>(part(store_.view(gradient, p)), part(slots_.view(0, i)), part(p.value),
            options_.normuon ? slots_.data<T>(1, i) + piece.first : nullptr, static_cast<T>(scale),
            static_cast<T>(keep), static_cast<T>(lr * factor(piece.rows, piece.columns)), room);
  }

  // One matrix: value' = keep value - step orthogonal(update of the momentum). v_rows: normuon's, or null.
  template <class T>
  void move(View<T> gradient, View<T> momentum, View<T> value, T* v_rows, T scale, T keep, T step, T* x) {
    const int64_t rows = value.rows, columns = value.cols;
    const T mu = static_cast<T>(options_.momentum), rest = static_cast<T>(1 - options_.momentum);
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
    const auto factor_of = [&](int64_t r) { return 1 / (std::sqrt(v_rows[r]) + static_cast<T>(kRowEps)); };
    for (int64_t r = 0; r < rows; ++r) {
      const T sum = kernel::sum_of_squares<T>(o + r * columns, columns);
      v_rows[r] = beta * v_rows[r] + rest * (sum / static_cast<T>(columns));
      before += sum;
      after += sum * factor_of(r) * factor_of(r);
    }
    const T back = std::sqrt(before) / (std::sqrt(after) + static_cast<T>(kRowEps));
    for (int64_t r = 0; r < rows; ++r) {
      const T factor = factor_of(r) * back;
      for (int64_t c = 0; c < columns; ++c) o[r * columns + c] *= factor;
    }
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
  std::vector<Piece> pieces_;
  int workers_;
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
