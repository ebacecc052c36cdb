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
  Writer(ConfigNode& out, std::string (*number)(double)) : out_(out), number_(number) {}

  void operator()(std::string_view name, bool& field, std::string_view) override { out_.set(name, node(field)); }
  void operator()(std::string_view name, int64_t& field, std::string_view, Range) override {
    out_.set(name, node(field));
  }
  void operator()(std::string_view name, double& field, std::string_view, Range) override {
    out_.set(name, node(field));
  }
  void operator()(std::string_view name, std::optional<int64_t>& field, std::string_view, Range) override {
    if (field) out_.set(name, node(*field));
  }
  void operator()(std::string_view name, std::optional<double>& field, std::string_view, Range) override {
    if (field) out_.set(name, node(*field));
  }
  void operator()(std::string_view name, std::string& field, std::string_view, std::vector<std::string_view>) override {
    out_.set(name, node(field));
  }
  void operator()(std::string_view name, std::vector<std::string>& field, std::string_view) override {
    list(name, field);
  }
  void operator()(std::string_view name, std::vector<int64_t>& field, std::string_view, Range) override {
    list(name, field);
  }
  void operator()(std::string_view name, std::vector<double>& field, std::string_view, Range) override {
    list(name, field);
  }
  void operator()(std::string_view name, AnyChoice& field, std::string_view) override {
    if (field || field.may_be_none()) out_.set(name, field.write());
  }
  void operator()(std::string_view name, AnyChoices& field, std::string_view) override {
    ConfigNode result = ConfigNode::list();
    for (const AnyChoice* c : field.each()) result.items().push_back(c->write());
    out_.set(name, std::move(result));
  }
  void operator()(std::string_view name, Options& field, std::string_view) override {
    ConfigNode result = ConfigNode::map();
    Writer inner(result, number_);
    field.visit(inner);
    out_.set(name, std::move(result));
  }
  void operator()(std::string_view name, ConfigNode& field, std::string_view) override {
    if (!field.is_null()) out_.set(name, field);
  }
  void operator()(std::string_view name, std::vector<ConfigNode>& field, std::string_view) override {
    out_.set(name, ConfigNode::list(field));
  }

 private:
  // Texts are marked as quoted, so that "true" and "5" stay texts; to_yaml drops quotes that nothing needs.
  static ConfigNode node(bool v) { return ConfigNode::scalar(v ? "true" : "false"); }
  static ConfigNode node(int64_t v) { return ConfigNode::scalar(std::to_string(v)); }
  ConfigNode node(double v) const { return ConfigNode::scalar(number_(v)); }
  static ConfigNode node(const std::string& v) { return ConfigNode::scalar(v, {}, true); }

  // An empty list is written as well: it may differ from the default.
  template <class T>
  void list(std::string_view name, const std::vector<T>& values) {
    ConfigNode result = ConfigNode::list();
    for (const T& value : values) result.items().push_back(node(value));
    out_.set(name, std::move(result));
  }

  ConfigNode& out_;
  std::string (*number_)(double);
};

// Lists each field; its default is shown as Writer would write it, numbers as people do.
class Describer final : public OptionVisitor {
 public:
  std::vector<OptionInfo> infos;

  void operator()(std::string_view name, bool& field, std::string_view help) override {
    add("bool", "", name, help, field);
  }
  void operator()(std::string_view name, int64_t& field, std::string_view help, Range range) override {
    add("int", describe(range), name, help, field, range);
  }
  void operator()(std::string_view name, double& field, std::string_view help, Range range) override {
    add("float", describe(range), name, help, field, range);
    infos.back().shown = readable(field);
  }
  void operator()(std::string_view name, std::optional<int64_t>& field, std::string_view help, Range range) override {
    add("int, optional", describe(range), name, help, field, range);
  }
  void operator()(std::string_view name, std::optional<double>& field, std::string_view help, Range range) override {
    add("float, optional", describe(range), name, help, field, range);
  }
  void operator()(std::string_view name, std::string& field, std::string_view help,
                  std::vector<std::string_view> choices) override {
    add("text", fmt::format("{}", fmt::join(choices, " | ")), name, help, field, choices);
  }
  void operator()(std::string_view name, std::vector<std::string>& field, std::string_view help) override {
    add("list of text", "", name, help, field);
  }
  void operator()(std::string_view name, std::vector<int64_t>& field, std::string_view help, Range range) override {
    add("list of int", describe(range), name, help, field, range);
  }
  void operator()(std::string_view name, std::vector<double>& field, std::string_view help, Range range) override {
    add("list of float", describe(range), name, help, field, range);
  }
  // A choice is shown by its name: it has the defaults that are shown with it.
  void operator()(std::string_view name, AnyChoice& field, std::string_view help) override {
    ConfigNode type = field ? mechanism(field.name()) : field.may_be_none() ? field.write() : ConfigNode();
    add("map", "", name, help, type);
  }
  void operator()(std::string_view name, AnyChoices& field, std::string_view help) override {
    std::vector<ConfigNode> types;
    for (const AnyChoice* c : field.each()) types.push_back(mechanism(c->name()));
    add("list of maps", "", name, help, types);
  }
  void operator()(std::string_view name, Options& field, std::string_view help) override {
    add("map", "", name, help, field);
  }
  void operator()(std::string_view name, ConfigNode& field, std::string_view help) override {
    add("map", "", name, help, field);
  }
  void operator()(std::string_view name, std::vector<ConfigNode>& field, std::string_view help) override {
    add("list of maps", "", name, help, field);
  }

 private:
  // `extra` is what the visit() of this kind of field has behind its help: a range or choices.
  template <class Field, class... Limits>
  void add(std::string type, std::string limits, std::string_view name, std::string_view help, Field& field,
           const Limits&... extra) {
    ConfigNode written = ConfigNode::map();
    Writer writer(written, shortest);
    static_cast<OptionVisitor&>(writer)(name, field, help, extra...);
    const ConfigNode* value = written.find(name);
    const std::string yaml = value ? to_flow_yaml(*value) : "";
    infos.push_back({std::string(name), std::move(type), yaml, std::string(help), std::move(limits), yaml});
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
  ConfigNode out = ConfigNode::map(options.mark);
  Writer writer(out, yaml_float);
  const_cast<Options&>(options).visit(writer);  // which changes no field
  return out;
}

}  // namespace effllm
