#include "nn/param_store.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/out_of_memory.h"
#include "kernels/parallel.h"
#include "nn/initial_values.h"

namespace effllm {
namespace {

constexpr int64_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

Init Init::torch_linear(int64_t fan_in) { return uniform(1 / std::sqrt(static_cast<double>(fan_in))); }
Init Init::gpt2_residual(int64_t layers) { return normal(0.02 / std::sqrt(2 * static_cast<double>(layers))); }
Init Init::xavier_uniform(int64_t fan_in, int64_t fan_out, double gain) {
  return uniform(gain * std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
}

Slab::Slab(int64_t elements, DType type) : elements_(elements), type_(type) {
  const size_t bytes = std::max<size_t>(static_cast<size_t>(elements) * size_of(type), 1);
  const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  const size_t padded = (bytes + alignment - 1) / alignment * alignment;
  auto* p = static_cast<std::byte*>(std::aligned_alloc(alignment, padded));
  if (!p) throw OutOfMemory("no memory for a slab of {} bytes of parameters", padded);
  if (bytes >= kHugePage) madvise(p, padded, MADV_HUGEPAGE);
  data_.reset(p);
  // First touch by all threads: fresh pages are the slowest memory there is.
  parallel_for(static_cast<int64_t>(padded), static_cast<int64_t>(kHugePage),
               [&](int64_t from, int64_t to) { std::memset(p + from, 0, static_cast<size_t>(to - from)); });
}
void Slab::Free::operator()(std::byte* p) const { std::free(p); }

Parameter& ParamStore::add(std::string name, const Shape& shape, Init init, Traits traits) {
  require(!by_name_.contains(name), "the parameter `{}` is declared twice", name);
  require(shape.numel() > 0, "the parameter `{}` {} is empty", name, shape.str());
  int64_t stacked = 0;
  for (const auto& block : init.blocks) stacked += block.first;
  require(init.blocks.empty() || stacked == shape.rows(), "the initialisation of `{}` covers {} rows of {}", name,
          stacked, shape.str());
  const std::vector<int64_t>& rows = traits.matrices;
  require(rows.empty() || (shape.rank() == 2 && std::accumulate(rows.begin(), rows.end(), int64_t{0}) == shape[0]),
          "the matrices of `{}` are not those of {}", name, shape.str());
  if (policy.stddev && traits.role != Role::own)
    init = Init::normal(*policy.stddev * (traits.role == Role::residual ? policy.residual_factor : 1));
  all_.push_back(
      {.name = std::move(name), .shape = shape, .init = init, .traits = traits, .value = {}, .transposed = {}});
  by_name_.emplace(all_.back().name, &all_.back());
  return all_.back();
}

Parameter& ParamStore::add_shared(std::string name, const Shape& shape, Init init, Traits traits) {
  if (const auto known = by_name_.find(name); known != by_name_.end()) {
    Parameter& p = *known->second;
    require(p.shape == shape, "the shared parameter `{}` is {} for one part and {} for another", name, p.shape.str(),
            shape.str());
    return p;
  }
  return add(std::move(name), shape, std::move(init), traits);
}

void ModelBuffer::change(std::span<const double> sums) {
  dispatch_float(value.dtype(), [&]<class T>() {
    T* v = value.data<T>();
    std::vector<double> numbers(v, v + size);
    rule(numbers, sums);
    for (size_t i = 0; i < numbers.size(); ++i) v[i] = static_cast<T>(numbers[i]);
  });
}

ModelBuffer& ParamStore::add_buffer(std::string name, int64_t size, double start, ModelBuffer::Rule rule) {
  require(!find_buffer(name), "the buffer `{}` is declared twice", name);
  return buffers_.emplace_back(ModelBuffer{std::move(name), size, start, std::move(rule), {}});
}

ModelBuffer& ParamStore::add_shared_buffer(std::string name, int64_t size, double start, ModelBuffer::Rule rule) {
  for (ModelBuffer& b : buffers_) {
    if (b.name != name) continue;
    require(b.size == size, "the shared buffer `{}` is [{}] for one part and [{}] for another", name, b.size, size);
    return b;
  }
  return add_buffer(std::move(name), size, start, std::move(rule));
}

const ModelBuffer* ParamStore::find_buffer(std::string_view name) const {
  for (const ModelBuffer& b : buffers_)
    if (b.name == name) return &b;
  return nullptr;
}

void ParamStore::lay_out(DType type) {
  type_ = type;
  sorted_.clear();
  for (Parameter& p : all_) sorted_.push_back(&p);
  std::ranges::sort(sorted_, {}, &Parameter::name);
  slab_elements_ = 0;
  const int64_t line = kLine / static_cast<int64_t>(size_of(type));
  for (Parameter* p : sorted_) {
    const int64_t rows = p->shape.rows(), stride = rows > 1 ? padded_stride(p->shape.cols(), type) : p->shape.cols();
    p->offset = slab_elements_;
    p->extent = (rows * stride + line - 1) / line * line;
    slab_elements_ += p->extent;
    if (slab_elements_ > Shape::kMostElements)
      throw MemoryError("the model's parameters, `{}` {} among them, are more than any memory holds", p->name,
                        p->shape.str());
  }
}

Tensor ParamStore::view(const Slab& slab, const Parameter& p) const {
  const int64_t stride = p.shape.rows() > 1 ? padded_stride(p.shape.cols(), type_) : p.shape.cols();
  return Tensor::view_of(slab.raw() + static_cast<size_t>(p.offset) * size_of(slab.dtype()), p.shape, slab.dtype(),
                         stride);
}

void ParamStore::materialize(uint64_t seed, DType type) {
  lay_out(type);
  values_ = std::make_unique<Slab>(slab_elements_, type);
  for (size_t i = 0; i < sorted_.size(); ++i) {
    Parameter& p = *sorted_[i];
    p.value = view(*values_, p);
    p.value.slot = parameter_slot(static_cast<int>(i));
    initialise(p.name, p.init, p.value, seed);
  }
  int64_t elements = 0;
  for (const ModelBuffer& b : buffers_) elements += b.size;
  buffer_values_ = std::make_unique<Slab>(elements, type);
  elements = 0;
  for (ModelBuffer& b : buffers_) {
    std::byte* at =
        buffer_values_->raw() + static_cast<size_t>(std::exchange(elements, elements + b.size)) * size_of(type);
    b.value = Tensor::view_of(at, {b.size}, type, b.size);
    fill(b.value, b.start);
  }
}

void ParamStore::as_meta(DType type) {
  lay_out(type);
  static std::byte nothing[kLine];  // never read: a parameter must be "defined"
  for (size_t i = 0; i < sorted_.size(); ++i) {
    Parameter& p = *sorted_[i];
    p.value = Tensor::view_of(nothing, p.shape, type, p.shape.cols());
    p.value.slot = parameter_slot(static_cast<int>(i));
  }
  for (ModelBuffer& b : buffers_) b.value = Tensor::view_of(nothing, {b.size}, type, b.size);
}

const Parameter* ParamStore::find(std::string_view name) const {
  const auto it =
      std::ranges::lower_bound(sorted_, name, {}, [](const Parameter* p) { return std::string_view(p->name); });
  return it != sorted_.end() && (*it)->name == name ? *it : nullptr;
}

int64_t ParamStore::count() const {
  int64_t n = 0;
  for (const Parameter& p : all_) n += p.shape.numel();
  return n;
}

int64_t ParamStore::active() const {
  double n = 0;
  for (const Parameter& p : all_) n += p.traits.active * static_cast<double>(p.shape.numel());
  return std::llround(n);
}

ParamGrads ParamStore::gradients(const Slab& slab) const {
  ParamGrads g;
  for (const Parameter* p : sorted_) g.views.push_back(view(slab, *p));
  g.reset();
  return g;
}

Scope Scope::operator/(std::string_view child) const {
  Scope inside = *this;
  inside.prefix_ = fmt::format("{}{}.", prefix_, child);
  return inside;
}

Scope Scope::for_share(double tokens) const {
  Scope some = *this;
  some.share_ *= tokens;
  return some;
}

Parameter& Scope::param(std::string_view name, const Shape& shape, Init init, Traits traits) const {
  traits.active *= share_;
  return store_->add(fmt::format("{}{}", prefix_, name), shape, std::move(init), traits);
}

Parameter& Scope::shared(std::string_view name, const Shape& shape, Init init, Traits traits) const {
  return store_->add_shared(std::string(name), shape, std::move(init), traits);
}

ModelBuffer& Scope::buffer(std::string_view name, int64_t size, double start, ModelBuffer::Rule rule) const {
  return store_->add_buffer(fmt::format("buffers.{}{}", prefix_, name), size, start, std::move(rule));
}

ModelBuffer& Scope::statistic(std::string_view name, int64_t size, double start, ModelBuffer::Rule rule) const {
  return store_->add_buffer(fmt::format("{}{}{}", kStatistics, prefix_, name), size, start, std::move(rule));
}

ModelBuffer& Scope::shared_statistic(std::string_view name, int64_t size, double start, ModelBuffer::Rule rule) const {
  return store_->add_shared_buffer(fmt::format("{}{}", kStatistics, name), size, start, std::move(rule));
}

}  // namespace effllm
