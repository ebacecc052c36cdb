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

  // Places to go back to, numbered from 0: the state as it is now. A mark copies no memory: what is replaced later
  // stays with it, and rows of later tokens are written behind those that it has (Call::grow).
  void mark() { marks_.push_back(std::make_shared<const std::vector<Tensor>>(fields_)); }
  size_t marks() const { return marks_.size(); }
  void unmark() { marks_.clear(); }  // forgets all of them
  // Back to a mark, or to `tokens` after it, where rows of tokens are all that has come since, and no document has
  // begun: they become fewer. Says whether it is there; false: it is at the mark, and those tokens are to be read
  // again. Later marks are gone. An Error where there is no such mark.
  bool rewind(size_t mark, int64_t tokens = 0);
  // Whether nobody but this state and its marks holds the memory of a field.
  bool alone(const Site& site, std::string_view name) const;

 private:
  bool only_longer(const std::vector<Tensor>& was, int64_t tokens) const;
  std::shared_ptr<const Site> root_;  // alive with the tree
  size_t first_ = 0;                  // index of the first field
  std::vector<Tensor> fields_;
  std::vector<std::shared_ptr<const std::vector<Tensor>>> marks_;
};

}  // namespace effllm
