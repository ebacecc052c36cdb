// A choice from a list together with its options: read once, typed, shared from then on, and built many times. Options
// may hold choices themselves: mixers inside a mixer.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "config/options.h"

namespace effllm {

// What is the same for all lists (`Choice` in config/list.h knows its own).
class AnyChoice {
 public:
  virtual ~AnyChoice() = default;
  // False where nothing has been chosen.
  explicit operator bool() const { return options_ != nullptr; }
  bool may_be_none() const { return or_none_; }
  virtual std::string_view name() const = 0;
  const Options& options() const { return *options_; }
  const Mark& mark() const { return options_->mark; }

  // What `node` names in its `type`, with the options beside it; `gla` stands for {type: gla}. Where there is no
  // such entry, it is left as it was.
  void read(const ConfigNode& node, Diagnostics& found);
  // Takes the entry called `type`, an error of `found` where there is none: its options, to be filled and set.
  std::unique_ptr<Options> named(const ConfigNode& type, Diagnostics& found);
  ConfigNode write() const;  // the type and all options, or none
  // As keys of a section (`optim: {type: muon, momentum: 0.9}`): `key` holds the name, as a text, and the options of
  // what it names stand beside it. `mark` is the section's.
  void visit_name(OptionVisitor& v, std::string_view key, std::string_view help);
  void visit_options(OptionVisitor& v, std::string_view key, const Mark& mark);
  virtual std::unique_ptr<Options> copied_options() const = 0;
  void set_options(std::shared_ptr<const Options> o) { options_ = std::move(o); }

 protected:
  virtual std::string_view kind() const = 0;  // of the list
  virtual std::vector<std::string_view> known() const = 0;
  // With their defaults; null where the list has none such.
  virtual std::unique_ptr<Options> options_of(std::string_view name) const = 0;
  // Takes the entry of that name, if there is one; its options.
  virtual std::unique_ptr<Options> take(std::string_view name) = 0;

  std::shared_ptr<const Options> options_;
  bool or_none_ = false;
};

// A choice that is left out at first, and where `none` is written.
inline constexpr struct OrNone {
} kOrNone;

// Several from one list.
class AnyChoices {
 public:
  virtual ~AnyChoices() = default;
  virtual std::vector<AnyChoice*> each() = 0;
  virtual std::vector<AnyChoice*> resized(size_t count) = 0;  // to so many, nothing chosen yet
};

// A choice among the fields of options, under the field's name.
template <class C>
struct Nested {
  std::string_view field;
  C* choice;
};
// All of them, in the order of visit().
std::vector<Nested<AnyChoice>> nested_choices(Options& options);
std::vector<Nested<const AnyChoice>> nested_choices(const Options& options);

}  // namespace effllm
