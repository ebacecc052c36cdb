// The parameters of a model: declared by name while layers are built, then laid out in slabs in the order of names.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "autodiff/tape.h"

namespace effllm {

// How a parameter starts. Values depend on (seed, name) alone: adding a layer leaves all others as they were.
struct Init {
  enum class Kind { constant, normal, uniform, mapped } kind = Kind::constant;
  double a = 0;  // the constant, the standard deviation, or the half-width
  // mapped: the value of element [row, column] from a number u that is uniform in [0, 1).
  std::function<double(double u, int64_t row, int64_t column)> map = {};
  // Of a fused matrix: rows from the top, each block with an initialisation of its own. Empty: one for all.
  std::vector<std::pair<int64_t, Init>> blocks = {};
  static Init constant(double v) { return {.kind = Kind::constant, .a = v}; }
  static Init zeros() { return constant(0); }
  static Init ones() { return constant(1); }
  static Init normal(double stddev) { return {.kind = Kind::normal, .a = stddev}; }
  static Init uniform(double half_width) { return {.kind = Kind::uniform, .a = half_width}; }
  static Init mapped(std::function<double(double u, int64_t row, int64_t column)> map) {
    return {.kind = Kind::mapped, .map = std::move(map)};
  }
  static Init stacked(std::vector<std::pair<int64_t, Init>> rows_and_inits) {
    Init i;
    i.blocks = std::move(rows_and_inits);
    return i;
  }
  // PyTorch's nn.Linear: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
  static Init torch_linear(int64_t fan_in);
  // GPT-2's: N(0, 0.02), and N(0, 0.02 / sqrt(2 layers)) for what is added to the residual stream.
  static Init gpt2() { return normal(0.02); }
  static Init gpt2_residual(int64_t layers);
  // Glorot and Bengio 2010: U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)).
  static Init xavier_uniform(int64_t fan_in, int64_t fan_out, double gain = 1);
};

// What a model-wide initialisation may replace: nothing of `own`; hidden weights; weights whose output is added to
// the residual stream, which some models start smaller.
enum class Role { own, hidden, residual };

struct Traits {
  Role role = Role::own;
  bool decay = true;    // weight decay; vectors and norms are usually without
  bool dense = false;   // the weight of a dense layer, which reads `Parameter::transposed` where that is defined
  double lr_scale = 1;  // learning rate as a multiple of the run's
  double active = 1;    // how much of it a token is multiplied by, of weights that it chooses among
  int64_t experts = 0;  // that stand below one another in a weight, of as many rows each; 0: it is no weight of experts
  // The matrices that stand below one another in a weight between hidden features, rows each: optimizers of matrices
  // take them one by one. Empty: an embedding, a head, a vector, a filter, or what is no weight of a product.
  std::vector<int64_t> matrices = {};
};

struct Parameter {
  std::string name;
  Shape shape;
  Init init;
  Traits traits;
  Tensor value;        // a view of the slab, tracked
  Tensor transposed;   // [in, out], while a TransposedWeights says so (nn/transposed.h); otherwise undefined
  int64_t offset = 0;  // of its first element in every slab
  int64_t extent = 0;  // elements in a slab, padding included
};

inline constexpr std::string_view kStatistics = "statistics.";
// Numbers that are saved with the parameters and not trained: [n]. After a step that was finite they change once, by
// their rule, from what the whole batch added up (Ledger::statistic).
struct ModelBuffer {
  using Rule = std::function<void(std::span<double> value, std::span<const double> sums)>;
  std::string name;  // "buffers.layers.3.ffn.router.bias"
  int64_t size;
  double start;
  Rule rule;
  Tensor value;
  void change(std::span<const double> sums);
};

// Memory for one number per parameter element (values, a gradient, a moment), touched once and kept.
class Slab {
 public:
  Slab(int64_t elements, DType type);  // zeroed
  DType dtype() const { return type_; }
  int64_t elements() const { return elements_; }
  std::byte* raw() const { return data_.get(); }
  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  int64_t elements_;
  DType type_;
  std::unique_ptr<std::byte, Free> data_;
};

// Replaces the initial values of hidden and residual weights: normal(std), and normal(std / sqrt(2 layers)).
struct InitPolicy {
  std::optional<double> stddev;
  double residual_factor = 1;
};

class ParamStore {
 public:
  ParamStore() = default;
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  Parameter& add(std::string name, const Shape& shape, Init init, Traits traits);
  // The same for parts that share a parameter: the first declares it, the others must ask for the same shape.
  Parameter& add_shared(std::string name, const Shape& shape, Init init, Traits traits);
  ModelBuffer& add_buffer(std::string name, int64_t size, double start, ModelBuffer::Rule rule);
  // The same for parts that share a buffer: its first one's rule is kept.
  ModelBuffer& add_shared_buffer(std::string name, int64_t size, double start, ModelBuffer::Rule rule);
  // Allocates the value slab and fills it.
  void materialize(uint64_t seed, DType type);
  void as_meta(DType type);  // values have shapes but no memory
  // In the order of names, which is the order of indices and of slabs.
  const std::vector<Parameter*>& sorted() const { return sorted_; }
  const Parameter* find(std::string_view name) const;
  std::deque<ModelBuffer>& buffers() { return buffers_; }  // in the order of their declaration
  const std::deque<ModelBuffer>& buffers() const { return buffers_; }
  const ModelBuffer* find_buffer(std::string_view name) const;
  int64_t count() const;   // numbers to learn
  int64_t active() const;  // of them those that a token is multiplied by (Traits::active)
  int64_t slab_elements() const { return slab_elements_; }
  DType dtype() const { return type_; }
  Slab& values() const { return *values_; }
  // The part of a slab that belongs to a parameter, shaped like it.
  Tensor view(const Slab& slab, const Parameter& p) const;
  ParamGrads gradients(const Slab& slab) const;  // views of a gradient slab, nothing written yet

  InitPolicy policy;  // set before layers are built

 private:
  void lay_out(DType type);
  std::deque<Parameter> all_;  // addresses stay
  std::unordered_map<std::string_view, Parameter*> by_name_;
  std::vector<Parameter*> sorted_;
  std::deque<ModelBuffer> buffers_;  // whose addresses stay
  std::unique_ptr<Slab> values_, buffer_values_;
  int64_t slab_elements_ = 0;
  DType type_ = DType::f32;
};

// Where a layer declares its parameters: the store and a prefix such as "layers.3.mixer.".
class Scope {
 public:
  explicit Scope(ParamStore& store, std::string prefix = "") : store_(&store), prefix_(std::move(prefix)) {}
  Scope operator/(std::string_view child) const;
  // The same for what this share of the tokens goes through: so much less of it is active (Traits).
  Scope for_share(double tokens) const;
  Parameter& param(std::string_view name, const Shape& shape, Init init, Traits traits = {}) const;
  // One for the whole model, whoever asks for it: `name` is without this scope's prefix.
  Parameter& shared(std::string_view name, const Shape& shape, Init init, Traits traits = {}) const;
  // Numbers that a rule changes once a step, [size].
  ModelBuffer& buffer(std::string_view name, int64_t size, double start, ModelBuffer::Rule rule) const;
  // The same that training alone reads, "statistics.layers.3.ffn.load": a model without them is the same model.
  // `shared_statistic` is one for the whole model.
  ModelBuffer& statistic(std::string_view name, int64_t size, double start, ModelBuffer::Rule rule) const;
  ModelBuffer& shared_statistic(std::string_view name, int64_t size, double start, ModelBuffer::Rule rule) const;
  const std::string& prefix() const { return prefix_; }

 private:
  ParamStore* store_;
  std::string prefix_;
  double share_ = 1;
};

}  // namespace effllm
