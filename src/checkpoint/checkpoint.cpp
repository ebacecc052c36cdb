#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <deque>

#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/metadata.h"

namespace effllm {
namespace {

StoredType stored(DType t) {
  switch (t) {
    case DType::f32:
      return StoredType::f32;
    case DType::f64:
      return StoredType::f64;
    case DType::i32:
      return StoredType::i32;
    case DType::i64:
      return StoredType::i64;
  }
  return StoredType::f32;
}

std::vector<int64_t> sizes(const Shape& s) {
  std::vector<int64_t> v;
  for (int i = 0; i < s.rank(); ++i) v.push_back(s[i]);
  return v;
}

// The tensor at p, rows without padding.
Tensor dense_at(const std::byte* p, const Tensor& like) {
  return Tensor::view_of(const_cast<std::byte*>(p), like.shape(), like.dtype(), like.cols());
}

std::vector<std::byte> dense_bytes(const Tensor& t) {
  std::vector<std::byte> out(static_cast<size_t>(t.numel()) * size_of(t.dtype()));
  copy(t, dense_at(out.data(), t));
  return out;
}

// An E with `end` where a value is not finite.
template <class E>
void require_finite(const std::string& name, const Tensor& t, std::string_view end) {
  if (!is_float(t.dtype())) return;
  dispatch_float(t.dtype(), [&]<class T>() {
    const auto v = t.view<T>();
    for (int64_t r = 0; r < v.rows; ++r)
      for (int64_t c = 0; c < v.cols; ++c)
        if (!std::isfinite(v.row(r)[c]))
          throw E("{} holds {} at row {}, column {}{}", name, static_cast<double>(v.row(r)[c]), r, c, end);
  });
}

// Integers of checkpoints are counts: of tokens that a state has seen.
void require_counts(const std::string& name, const Tensor& t) {
  const auto v = t.view<int64_t>();
  for (int64_t r = 0; r < v.rows; ++r)
    for (int64_t c = 0; c < v.cols; ++c)
      if (v.row(r)[c] < 0 || v.row(r)[c] > kMostCounted)
        throw CheckpointError("{} holds {} at row {}, column {}, where a count is needed", name, v.row(r)[c], r, c);
}

template <class From, class To>
void convert(const StoredTensor& from, const Tensor& to) {
  const auto v = to.view<To>();
  const std::byte* p = from.data;
  for (int64_t r = 0; r < v.rows; ++r)
    for (int64_t c = 0; c < v.cols; ++c, p += sizeof(From)) {
      From x;
      std::memcpy(&x, p, sizeof x);
      v.row(r)[c] = static_cast<To>(x);
    }
}

void copy_stored(const StoredTensor& from, const std::string& path, const Tensor& to) {
  if (from.shape != sizes(to.shape()))
    throw CheckpointError("{}: `{}` is [{}], but the model needs {}", path, from.name, fmt::join(from.shape, ", "),
                          to.shape().str());
  if (from.type == stored(to.dtype())) {
    copy(dense_at(from.data, to), to);
  } else if (from.type == StoredType::f32 && to.dtype() == DType::f64) {
    convert<float, double>(from, to);
  } else if (from.type == StoredType::f64 && to.dtype() == DType::f32) {
    convert<double, float>(from, to);
  } else {
    throw CheckpointError("{}: `{}` is stored as {}, which can't become {}", path, from.name,
                          stored_type_name(from.type), to_string(to.dtype()));
  }
}

bool of_model(std::string_view name) {
  return !name.starts_with("opt.") && !name.starts_with("state.") && !name.starts_with(kStatistics);
}

}  // namespace

void save_checkpoint(const std::filesystem::path& file, const ParamStore& params, const std::vector<NamedTensor>& more,
                     std::map<std::string, std::string> metadata) {
  std::vector<StoredTensor> tensors;
  std::deque<std::vector<std::byte>> memory;
  const auto put = [&](const std::string& name, const Tensor& t) {
    require_finite<CheckpointError>(fmt::format("`{}`", name), t,
                                    ": no checkpoint is written with values that are not finite");
    const auto& bytes = memory.emplace_back(dense_bytes(t));
    tensors.push_back({name, stored(t.dtype()), sizes(t.shape()), bytes.data(), bytes.size()});
  };
  for (const Parameter* p : params.sorted()) put(p->name, p->value);
  for (const ModelBuffer& b : params.buffers()) put(b.name, b.value);
  for (const auto& m : more) put(m.name, m.value);
  metadata["format"] = "pt";  // what readers of other projects look for
  metadata["effllm_format"] = "checkpoint";
  metadata["format_version"] = fmt::format("{}", kCheckpointVersion);
  write_safetensors(file, std::move(tensors), metadata);
}

std::string misfit(const SafetensorsFile& file, const ParamStore& store) {
  for (const auto& t : file.tensors())
    if (of_model(t.name) && !store.find(t.name) && !store.find_buffer(t.name))
      return fmt::format("holds `{}`, which the model of this configuration lacks", t.name);
  std::string wrong;
  const auto compare = [&](const std::string& name, const Shape& shape) {
    const StoredTensor* t = file.find(name);
    if (!t)
      wrong = fmt::format("lacks `{}` {}, which the model of this configuration needs", name, shape.str());
    else if (t->shape != sizes(shape))
      wrong = fmt::format("`{}` is [{}], but the model needs {}", name, fmt::join(t->shape, ", "), shape.str());
    return wrong.empty();
  };
  for (const Parameter* p : store.sorted())
    if (!compare(p->name, p->shape)) return wrong;
  for (const ModelBuffer& b : store.buffers())
    if (!b.name.starts_with(kStatistics) && !compare(b.name, {b.size})) return wrong;
  return wrong;
}

void load_parameters(const SafetensorsFile& file, const std::string& path, const ParamStore& store) {
  if (const std::string wrong = misfit(file, store); !wrong.empty()) throw CheckpointError("{}: {}", path, wrong);
  for (const Parameter* p : store.sorted()) load_tensor(file, path, p->name, p->value);
  for (const ModelBuffer& b : store.buffers()) {
    const StoredTensor* t = file.find(b.name);  // statistics of another training begin anew
    if (t && t->shape == std::vector{b.size}) load_tensor(file, path, b.name, b.value);
  }
}

bool load_tensor(const SafetensorsFile& file, const std::string& path, const std::string& name, const Tensor& to) {
  const StoredTensor* t = file.find(name);
  if (!t) return false;
  copy_stored(*t, path, to);
  if (to.dtype() == DType::i64) require_counts(fmt::format("{}: `{}`", path, name), to);
  require_finite<NumericalError>(fmt::format("{}: `{}`", path, name), to, "; take an earlier checkpoint");
  return true;
}

int require_checkpoint(const SafetensorsFile& file, const std::string& path) {
  const Metadata metadata(file, path);
  metadata.text("effllm_format");
  const std::string version = metadata.text("format_version");
  for (int v = 1; v <= kCheckpointVersion; ++v)
    if (version == fmt::format("{}", v)) return v;
  throw CheckpointError("{}: format version {}; this program reads versions 1 to {}", path, printable(version),
                        kCheckpointVersion);
}

std::string parameter_hash(const ParamStore& params) {
  Sha256 h;
  for (const Parameter* p : params.sorted()) {
    h.update(p->name);
    h.update(dense_bytes(p->value));
  }
  for (const ModelBuffer& b : params.buffers()) {
    h.update(b.name);
    h.update(dense_bytes(b.value));
  }
  return h.hex();
}

}  // namespace effllm
