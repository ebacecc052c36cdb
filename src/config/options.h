// Self-describing options. An options struct names each field once, in visit(); visitors read, write and document it.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "config/node.h"

namespace effllm {

struct Range {
  double lo = -std::numeric_limits<double>::infinity(), hi = std::numeric_limits<double>::infinity();
};
constexpr Range at_least(double lo) { return {.lo = lo}; }
constexpr Range between(double lo, double hi) { return {lo, hi}; }
// The most tokens that an option may ask for: sums and products of two such numbers stay far from 2^63.
inline constexpr double kMostTokens = 1 << 30;
std::string describe(Range);  // "at least 1", "0 to 1"; "" for all numbers

class AnyChoice;
class AnyChoices;
struct Options;

// Where the value of an option stands.
using Field = std::variant<bool*, int64_t*, double*,                         //
                           std::optional<int64_t>*, std::optional<double>*,  // unset until given, written only when set
                           std::string*, std::vector<std::string>*,          //
                           std::vector<int64_t>*, std::vector<double>*,      //
                           AnyChoice*, AnyChoices*,  // from a list (config/list.h), in full with the options of theirs
                           Options*,                 // with a heading of their own; a bare scalar is their `type`
                           ConfigNode*, std::vector<ConfigNode>*>;  // pieces that another part reads
// What numbers and texts are held to.
struct Limits {
  Range range;
  std::vector<std::string_view> choices;  // any text where there are none
};

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  template <class T>
  void operator()(std::string_view name, T& field, std::string_view help) {
    visit(name, &field, help, {});
  }
  template <class T>
  void operator()(std::string_view name, T& field, std::string_view help, Range range) {
    visit(name, &field, help, {.range = range, .choices = {}});
  }
  void operator()(std::string_view name, std::string& field, std::string_view help,
                  std::vector<std::string_view> choices) {
    visit(name, &field, help, {.range = {}, .choices = std::move(choices)});
  }
  // There would be an option of this name beside, if `key` chose `entry`.
  virtual void elsewhere(std::string_view /*name*/, std::string_view /*key*/, std::string_view /*entry*/) {}

 protected:
  virtual void visit(std::string_view name, Field field, std::string_view help, const Limits& limits) = 0;
};

struct Options {
  virtual ~Options() = default;
  virtual void visit(OptionVisitor&) = 0;
  Mark mark;                            // where these options were written
  std::vector<std::string_view> given;  // the fields that were
};

struct NoOptions final : Options {
  void visit(OptionVisitor&) override {}
};

struct OptionInfo {
  std::string name, type, value, help, limits;  // value: the default as YAML
  std::string shown;                            // the same for people: 8/3
};

// A part of a configuration, such as `train` or `optim.groups[]`, with its options.
struct ConfigSection {
  std::string path, summary;
  std::unique_ptr<Options> options;
};
template <class O>
ConfigSection section(std::string path, std::string summary) {
  return {std::move(path), std::move(summary), std::make_unique<O>()};
}

std::vector<OptionInfo> describe(Options&);
// All fields with their values, in the order of visit().
ConfigNode write(const Options&);
// Unknown keys, wrong types and values out of range become errors of `found`. `owner` is for the messages ("mixer
// `gla`"). A key `type` is skipped: it chose the struct. Strings may hold ${env:VAR} and ${env:VAR,default}.
void read(Options&, const ConfigNode&, std::string_view owner, Diagnostics& found);
// The same, throwing at once.
void read(Options&, const ConfigNode&, std::string_view owner);

}  // namespace effllm
