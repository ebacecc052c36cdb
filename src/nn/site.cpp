#include "nn/site.h"

#include <fmt/format.h>

#include <algorithm>

#include "autodiff/checkpoint.h"
#include "base/error.h"
#include "base/text.h"
#include "nn/layer.h"

namespace effllm {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 60;
constexpr size_t kMostShared = kMostInputs - 1;  // a block that is run again is given a memory too

std::string joined(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

const SharedValue* find(const std::vector<SharedValue>& values, std::string_view name) {
  const auto at = std::ranges::find(values, name, [](const SharedValue& v) { return std::string_view(v.name); });
  return at == values.end() ? nullptr : &*at;
}

[[noreturn]] void wrong(const std::string& what) { throw Error(ExitCode::internal, what); }

}  // namespace

Site::Site(Site* parent, std::string path)
    : parent_(parent),
      root_(parent ? parent->root_ : this),
      before_(parent && !parent->children_.empty() ? parent->children_.back().second.get() : nullptr),
      path_(std::move(path)),
      first_(root_->fields_.size()),
      last_(first_),
      forgets_(parent && parent->forgets_),
      borrows_(parent && parent->borrows_),
      left_out_(parent && parent->left_out_) {}

Site& Site::child(std::string_view name) {
  for (const auto& c : children_)
    if (c.first == name) wrong(fmt::format("the place `{}` is declared twice", joined(path_, name)));
  return *children_.emplace_back(name, std::unique_ptr<Site>(new Site(this, joined(path_, name)))).second;
}

Site& Site::child(std::string_view name, const Layer& layer) {
  Site& s = child(name);
  layer.declare(s);
  return s;
}

void Site::field(std::string_view name, const Shape& shape) { add({.name = std::string(name), .shape = shape}); }

void Site::window(std::string_view name, int64_t most, const Shape& row) {
  const auto rows = [most](int64_t tokens) { return std::min(tokens, most); };
  add({.name = std::string(name), .shape = row, .growth = Growth::window, .rows = rows});
}

void Site::per_token(std::string_view name, const Shape& row, std::function<int64_t(int64_t)> rows) {
  if (!rows) rows = [](int64_t tokens) { return tokens; };
  add({.name = std::string(name), .shape = row, .growth = Growth::per_token, .rows = std::move(rows)});
}

void Site::of_memory(const std::vector<std::string_view>& names, const Shape& row) {
  for (const std::string_view name : names)
    add({.name = std::string(name), .shape = row, .growth = Growth::memory, .rows = [](int64_t) { return 1; }});
  add({.name = "length", .growth = Growth::memory, .count = true});
  for (Site* s = this; s; s = s->parent_) s->reads_memory_ = true;
}

void Site::count_tokens() {
  counts_ = true;
  add({.name = "seen", .count = true});
}

const SharedValue* Site::gives(std::string_view name) const { return find(given_, name); }
const SharedValue* Site::needs(std::string_view name) const { return find(needed_, name); }

void Site::gives(std::string_view name, int64_t width) {
  if (on_shelf(name)) wrong(fmt::format("`{}` of {} is given twice", name, path_));
  gives_anew(name, width);
  root_->given_.back().needed = false;
}

void Site::gives_anew(std::string_view name, int64_t width) {
  if (left_out_)
    throw ConfigError(
        "{} is the first to give `{}` to later layers, but samples may leave it out: let a layer give them that stands "
        "before it and that no sample leaves out",
        path_, name);
  for (Site* s = this; s; s = s->parent_) {
    std::erase_if(s->given_, [&](const SharedValue& v) { return v.name == name; });
    s->given_.push_back({.name = std::string(name), .width = width, .needed = true});
  }
}

void Site::needs(std::string_view name, int64_t width) {
  const auto given = std::ranges::find(root_->given_, name, &SharedValue::name);
  if (given == root_->given_.end())
    throw ConfigError("{} needs `{}`, which no layer before it gives: put one that does before it", path_, name);
  if (given->width != width)
    throw ConfigError("{} needs `{}` of width {}, but they are given with width {}: let both layers have the same",
                      path_, name, width, given->width);
  given->needed = true;
  for (Site* s = this; !s->gives(name) && !s->needs(name); s = s->parent_) {
    s->needed_.push_back(*given);
    if (s->needed_.size() >= kMostShared)
      throw ConfigError("{} needs `{}` and {} more values of layers before it, which is one too many", s->path_, name,
                        kMostShared - 1);
  }
}

void Site::add(StateField f) {
  if (forgets_ && !f.count) return;
  f.path = joined(path_, f.name);
  f.index = root_->fields_.size();
  if (std::ranges::find(own_, f.name, [](const StateField* o) { return std::string_view(o->name); }) != own_.end())
    wrong(fmt::format("`{}` is declared twice", f.path));
  if (first_ != last_ && last_ != f.index) wrong(fmt::format("`{}` is declared after another site's field", f.path));
  for (Site* s = this; s; s = s->parent_) {
    if (s->first_ == s->last_) s->first_ = f.index;
    s->last_ = f.index + 1;
  }
  own_.push_back(&root_->fields_.emplace_back(std::move(f)));
}

const Site& Site::operator[](std::string_view child) const {
  for (const auto& [name, site] : children_)
    if (name == child) return *site;
  wrong(fmt::format("there is no place `{}` in declare()", joined(path_, child)));
}

const StateField& Site::operator()(std::string_view field) const {
  for (const StateField* f : own_)
    if (f->name == field) return *f;
  std::string names;
  for (const StateField* f : own_) names += (names.empty() ? "" : ", ") + f->name;
  wrong(fmt::format("there is no field `{}` among [{}]; name it in declare()", joined(path_, field), names));
}

const Site& Site::counter() const {
  const Site* s = this;
  while (!s->counts_ && s->parent_) s = s->parent_;
  return *s;
}

std::vector<const StateField*> Site::all() const {
  std::vector<const StateField*> fields;
  for (size_t i = first_; i < last_; ++i) fields.push_back(&root_->fields_[i]);
  return fields;
}

int64_t Site::bytes(int64_t tokens, DType t, int64_t memory) const {
  int64_t n = 0;
  for (const StateField* f : all()) {
    const Shape kept = f->growth == Growth::memory ? f->shape.with_first(memory) : f->shape_for(tokens);
    if (!f->count) n += kept.numel() * static_cast<int64_t>(size_of(t));
    if (n > kMostBytes) throw MemoryError("a state of {} is larger than any memory", counted(tokens, "token"));
  }
  return n;
}

std::shared_ptr<const Site> site_of(const Layer& layer) {
  const auto site = std::make_shared<Site>();
  layer.declare(*site);
  if (!layer.counts_tokens()) site->count_tokens();
  return site;
}

}  // namespace effllm
