// Lists of what a configuration can name: mixers, optimizers. One template for an entry, one for a list of them, one
// for what was chosen from it.
#pragma once
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/choice.h"

namespace effllm {

// Facts: what an entry says of itself, at least `name` and `title`. It is built, as a T, of its options and Args, or of
// Args alone.
template <class T, class Facts, class... Args>
struct Entry : Facts {
  std::unique_ptr<Options> (*options)() = nullptr;  // with their defaults
  std::unique_ptr<Options> (*copy)(const Options&) = nullptr;
  std::unique_ptr<T> (*build)(const Options&, Args...) = nullptr;

  // Fills in what follows from the type: M::Options and M(Options, Args...); without Options, M(Args...).
  template <class M>
  static constexpr Entry of(const Facts& facts) {
    if constexpr (requires { typename M::Options; })
      return with<typename M::Options>(
          facts, +[](const Options& o, Args... args) -> std::unique_ptr<T> {
            return std::make_unique<M>(static_cast<const typename M::Options&>(o), args...);
          });
    else
      return with<NoOptions>(
          facts, +[](const Options&, Args... args) -> std::unique_ptr<T> { return std::make_unique<M>(args...); });
  }

 private:
  template <class O>
  static constexpr Entry with(const Facts& facts, std::unique_ptr<T> (*build)(const Options&, Args...)) {
    return {facts, +[]() -> std::unique_ptr<Options> { return std::make_unique<O>(); },
            +[](const Options& o) -> std::unique_ptr<Options> { return std::make_unique<O>(static_cast<const O&>(o)); },
            build};
  }
};

std::string unknown_name(std::string_view name, std::string_view kind);  // "no mixer is called `gal`"
// " Did you mean `gla`?", or nothing.
std::string suggestion(std::string_view name, std::span<const std::string_view> known);
// A ConfigError of both that says what shows all.
[[noreturn]] void throw_unknown_name(std::string_view name, std::string_view kind,
                                     std::span<const std::string_view> known, const Mark& where);

template <class Info>
class Choice;

// Of which there is one object a list, `extern` in a header: its lines are a .def that one .cpp reads (list.inc).
template <class Info>
struct List {
  std::string_view kind;  // what one of them is called: "mixer"
  std::span<const Info* const> all;

  auto begin() const { return all.begin(); }
  auto end() const { return all.end(); }
  std::vector<std::string_view> names() const {
    std::vector<std::string_view> known;
    for (const Info* info : all) known.push_back(info->name);
    return known;
  }
  // Null where none has this name.
  const Info* find_if_any(std::string_view name) const {
    const auto found = std::ranges::find(all, name, [](const Info* info) { return info->name; });
    return found == all.end() ? nullptr : *found;
  }
  // ConfigError at `where`, the place that asks, where none has.
  const Info& find(std::string_view name, const Mark& where = {}) const {
    if (const Info* info = find_if_any(name)) return *info;
    throw_unknown_name(name, kind, names(), where);
  }
  // ConfigError with all that is wrong.
  Choice<Info> read(const ConfigNode& node) const {
    Diagnostics found;
    Choice<Info> choice(*this);
    choice.read(node, found);
    found.throw_if_any();
    return choice;
  }
};

template <class T, class Facts, class... Args>
class Choice<Entry<T, Facts, Args...>> final : public AnyChoice {
 public:
  using Info = Entry<T, Facts, Args...>;
  explicit Choice(const List<Info>& list) : list_(&list) {}
  Choice(const List<Info>& list, OrNone) : list_(&list) { or_none_ = true; }
  // With its defaults.
  Choice(const List<Info>& list, std::string_view name) : Choice(list) { options_ = take(list.find(name).name); }

  const Info& info() const { return *info_; }
  std::string_view name() const override { return info_->name; }
  std::unique_ptr<Options> copied_options() const override { return info_->copy(*options_); }
  // A new one, of what was chosen.
  std::unique_ptr<T> build(Args... args) const { return info_->build(*options_, args...); }

 private:
  std::string_view kind() const override { return list_->kind; }
  std::vector<std::string_view> known() const override { return list_->names(); }
  std::unique_ptr<Options> options_of(std::string_view name) const override {
    const Info* info = list_->find_if_any(name);
    return info ? info->options() : nullptr;
  }
  std::unique_ptr<Options> take(std::string_view name) override {
    if (const Info* info = list_->find_if_any(name)) info_ = info;
    return options_of(name);
  }

  const List<Info>* list_;
  const Info* info_ = nullptr;
};

template <class Info>
Choice(const List<Info>&, std::string_view) -> Choice<Info>;

template <class Info>
class Choices final : public AnyChoices {
 public:
  // With their defaults.
  Choices(const List<Info>& list, std::initializer_list<std::string_view> names) : list_(&list) {
    for (const std::string_view name : names) all_.emplace_back(list, name);
  }
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }
  std::vector<AnyChoice*> each() override {
    std::vector<AnyChoice*> pointers;
    for (Choice<Info>& c : all_) pointers.push_back(&c);
    return pointers;
  }
  std::vector<AnyChoice*> resized(size_t count) override {
    all_.assign(count, Choice<Info>(*list_));
    return each();
  }

 private:
  const List<Info>* list_;
  std::vector<Choice<Info>> all_;
};

// The choices from lists of the same kind of entry among the options of one.
template <class Info>
std::vector<Nested<const Choice<Info>>> parts(const Choice<Info>& choice) {
  std::vector<Nested<const Choice<Info>>> all;
  for (const auto& [field, inner] : nested_choices(choice.options()))
    if (const auto* c = dynamic_cast<const Choice<Info>*>(inner); c && *c) all.push_back({field, c});
  return all;
}

// f() of a choice, and of those inside it.
template <class Info, class F>
void for_all_inside(const Choice<Info>& choice, F&& f) {
  f(choice);
  for (const auto& part : parts(choice)) for_all_inside(*part.choice, f);
}

}  // namespace effllm
