#include "config/options.h"

#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "config/choice.h"
#include "config/yaml.h"

namespace effllm {
namespace {

// Appends each field to a map. What is unset (an empty optional, a null node) is left out.
class Writer final : public OptionVisitor {
 public:
  explicit Writer(std::string (*number)(double)) : number_(number) {}

  // Texts are marked as quoted, so that "true" and "5" stay texts; to_yaml drops quotes that nothing needs.
  static ConfigNode node(bool v) { return ConfigNode::scalar(v ? "true" : "false"); }
  static ConfigNode node(int64_t v) { return ConfigNode::scalar(std::to_string(v)); }
  ConfigNode node(double v) const { return ConfigNode::scalar(number_(v)); }
  static ConfigNode node(const std::string& v) { return ConfigNode::scalar(v, {}, true); }
  static ConfigNode node(const ConfigNode& v) { return v; }
  static ConfigNode node(const AnyChoice& v) { return v || v.may_be_none() ? v.write() : ConfigNode(); }
  static ConfigNode node(AnyChoices& v) {
    ConfigNode result = ConfigNode::list();
    for (const AnyChoice* c : v.each()) result.items().push_back(c->write());
    return result;
  }
  ConfigNode node(Options& v) const {
    Writer inner(number_);
    inner.out_ = ConfigNode::map(v.mark);
    v.visit(inner);
    return inner.out_;
  }
  template <class T>
  ConfigNode node(const std::optional<T>& v) const {
    return v ? node(*v) : ConfigNode();
  }
  // An empty list is written as well: it may differ from the default.
  template <class T>
  ConfigNode node(const std::vector<T>& v) const {
    ConfigNode result = ConfigNode::list();
    for (const T& item : v) result.items().push_back(node(item));
    return result;
  }

 private:
  void visit(std::string_view name, Field field, std::string_view, const Limits&) override {
    ConfigNode value = std::visit([&](auto* f) { return node(*f); }, field);
    if (!value.is_null()) out_.set(name, std::move(value));
  }

  std::string (*number_)(double);
  ConfigNode out_;
};

// In the order of Field.
constexpr std::string_view kTypes[] = {
    "bool",         "int",          "float",       "int, optional", "float, optional",
    "text",         "list of text", "list of int", "list of float", "map",
    "list of maps", "map",          "map",         "list of maps"};
static_assert(std::size(kTypes) == std::variant_size_v<Field>);

// Lists each field; its default is shown as Writer would write it, numbers as people do.
class Describer final : public OptionVisitor {
 public:
  std::vector<OptionInfo> infos;

 private:
  void visit(std::string_view name, Field field, std::string_view help, const Limits& limits) override {
    const ConfigNode value = std::visit([](auto* f) { return shown(*f); }, field);
    const std::string yaml = value.is_null() ? "" : to_flow_yaml(value);
    const auto* number = std::get_if<double*>(&field);
    infos.push_back({std::string(name), std::string(kTypes[field.index()]), yaml, std::string(help),
                     describe(limits.range) + fmt::format("{}", fmt::join(limits.choices, " | ")),
                     number ? readable(**number) : yaml});
  }

  template <class T>
  static ConfigNode shown(T& field) {
    return Writer(shortest).node(field);
  }
  // A choice is shown by its name: it has the defaults that are shown with it.
  static ConfigNode shown(AnyChoice& c) { return c ? mechanism(c.name()) : Writer::node(c); }
  static ConfigNode shown(AnyChoices& field) {
    ConfigNode result = ConfigNode::list();
    for (const AnyChoice* c : field.each()) result.items().push_back(mechanism(c->name()));
    return result;
  }
};

}  // namespace

std::string describe(Range range) {
  const bool low = std::isfinite(range.lo), high = std::isfinite(range.hi);
  if (low && high) return fmt::format("{} to {}", readable(range.lo), readable(range.hi));
  if (low) return fmt::format("at least {}", readable(range.lo));
  return high ? fmt::format("at most {}", readable(range.hi)) : "";
}

std::vector<OptionInfo> describe(Options& options) {
  Describer describer;
  options.visit(describer);
  return std::move(describer.infos);
}

ConfigNode write(const Options& options) {
  return Writer(yaml_float).node(const_cast<Options&>(options));  // of which nothing is changed
}

}  // namespace effllm
