// What a model remembers between calls at all of its sites: the only place it can, since methods of layers are const.
#pragma once
#include "nn/site.h"
#include "ops/sequences.h"

namespace effllm {

// Plain named tensors [B, ...]. A copy is a mark to go back to, and a branch: it shares their memory, which nobody
// writes into while another holds it (Call::own).
class State {
 public:
  using Make = std::function<Tensor(const Shape&, DType)>;
  State() = default;
  // Of `batch` sequences with room for `capacity` tokens, zeros unless `make` says otherwise.
  State(std::shared_ptr<const Site> root, int64_t batch, int64_t capacity, DType t, const Make& make = Tensor::zeros);

  const Site& root() const { return *root_; }
  int64_t batch() const { return fields_.empty() ? 0 : fields_.front().dim(0); }
  // An Error that lists the names where the site has declared no such field.
  Tensor& field(const Site& site, std::string_view name) { return fields_[site(name).index - first_]; }
  const Tensor& field(const Site& site, std::string_view name) const { return fields_[site(name).index - first_]; }
  State at(const Site& site) const;               // what is remembered there and inside, the same tensors
  State rows(int64_t from, int64_t batch) const;  // of these sequences, views that count nothing: workers may hold them
  void put(const State& values) const;            // of the same sites and sequences, into this one's memory
  // As if they had seen nothing there; what is read of an encoder stays.
  void forget(const Site& site, const Sequences& sequences);
  void each(const std::function<void(const StateField&, const Tensor&)>& f) const;

 private:
  std::shared_ptr<const Site> root_;  // alive with the tree
  size_t first_ = 0;                  // index of the first field
  std::vector<Tensor> fields_;
};

}  // namespace effllm
