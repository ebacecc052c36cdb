// Self-describing options. An options struct names each field once, in visit(); visitors read, write and document it.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  virtual void operator()(std::string_view name, bool& field, std::string_view help) = 0;
  virtual void operator()(std::string_view name, int64_t& field, std::string_view help, Range = {}) = 0;
  virtual void operator()(std::string_view name, double& field, std::string_view help, Range = {}) = 0;
  // Unset until given; written only when set.
  virtual void operator()(std::string_view name, std::optional<int64_t>& field, std::string_view help, Range = {}) = 0;
  virtual void operator()(std::string_view name, std::optional<double>& field, std::string_view help, Range = {}) = 0;
  // One of `choices`; any text where `choices` is empty.
  virtual void operator()(std::string_view name, std::string& field, std::string_view help,
                          std::vector<std::string_view> choices = {}) = 0;
  virtual void operator()(std::string_view name, std::vector<std::string>& field, std::string_view help) = 0;
  virtual void operator()(std::string_view name, std::vector<int64_t>& field, std::string_view help, Range = {}) = 0;
  virtual void operator()(std::string_view name, std::vector<double>& field, std::string_view help, Range = {}) = 0;
  // Choices from a list, read and written out in full with the options of theirs (config/list.h).
  virtual void operator()(std::string_view name, AnyChoice& field, std::string_view help) = 0;
  virtual void operator()(std::string_view name, AnyChoices& field, std::string_view help) = 0;
  // Options with a heading of their own; a bare scalar is their `type`.
  virtual void operator()(std::string_view name, Options& field, std::string_view help) = 0;
  // Pieces that another part reads.
  virtual void operator()(std::string_view name, ConfigNode& field, std::string_view help) = 0;
  virtual void operator()(std::string_view name, std::vector<ConfigNode>& field, std::string_view help) = 0;
  // There would be an option of this name beside, if `key` chose `entry`.
  virtual void elsewhere(std::string_view /*name*/, std::string_view /*key*/, std::string_view /*entry*/) {}
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
