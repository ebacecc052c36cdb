#include "config/choice.h"

#include <fmt/format.h>

#include "config/list.h"

namespace effllm {
namespace {

class Collector final : public OptionVisitor {
 public:
  std::vector<Nested<AnyChoice>> choices;

 private:
  void visit(std::string_view name, Field field, std::string_view, const Limits&) override {
    if (const auto* one = std::get_if<AnyChoice*>(&field)) choices.push_back({name, *one});
    if (const auto* several = std::get_if<AnyChoices*>(&field))
      for (AnyChoice* c : (*several)->each()) choices.push_back({name, c});
    if (const auto* options = std::get_if<Options*>(&field)) (*options)->visit(*this);
  }
};

}  // namespace

void AnyChoice::read(const ConfigNode& given, Diagnostics& found) {
  const ConfigNode node = as_map(given);
  if (!node.is_map()) {
    found.error(node.mark(), fmt::format("a {} is a map with a `type`, such as {{type: ...}}", kind()));
    return;
  }
  const ConfigNode* type = node.find("type");
  if (!type || !type->is_scalar()) {
    found.error(node.mark(), fmt::format("this {0} has no `type`; `effllm list {0}s` shows them all", kind()));
    return;
  }
  if (or_none_ && type->text() == "none") return options_.reset();
  std::unique_ptr<Options> options = named(*type, found);
  if (!options) return;
  effllm::read(*options, node, fmt::format("{} `{}`", kind(), name()), found);
  options_ = std::move(options);
}

std::unique_ptr<Options> AnyChoice::named(const ConfigNode& type, Diagnostics& found) {
  std::unique_ptr<Options> options = take(type.text());
  if (options) return options;
  const std::string meant = suggestion(type.text(), known());
  found.error(type.mark(), unknown_name(type.text(), kind()) + (meant.empty() ? "" : "." + meant));
  return nullptr;
}

void AnyChoice::visit_name(OptionVisitor& v, std::string_view key, std::string_view help) {
  std::string chosen(options_ ? name() : "none");
  std::vector<std::string_view> names = known();
  if (or_none_) names.insert(names.begin(), "none");
  v(key, chosen, help, names);
  if (or_none_ && chosen == "none")
    options_.reset();
  else if (!options_ || chosen != name())
    options_ = take(chosen);
}

void AnyChoice::visit_options(OptionVisitor& v, std::string_view key, const Mark& mark) {
  if (options_) {
    std::shared_ptr<Options> own = copied_options();  // configurations share what is there
    own->mark = mark;
    own->visit(v);
    options_ = std::move(own);
  }
  for (const std::string_view other : known())
    if (!options_ || other != name())
      for (const OptionInfo& o : describe(*options_of(other))) v.elsewhere(o.name, key, other);
}

ConfigNode AnyChoice::write() const {
  if (!options_) return ConfigNode::scalar("none");
  ConfigNode out = ConfigNode::map();
  out.set("type", name());
  const ConfigNode written = effllm::write(*options_);
  for (const auto& e : written.entries()) out.set(e.key, e.value);
  return out;
}

std::vector<Nested<AnyChoice>> nested_choices(Options& options) {
  Collector collector;
  options.visit(collector);
  return std::move(collector.choices);
}

std::vector<Nested<const AnyChoice>> nested_choices(const Options& options) {
  std::vector<Nested<const AnyChoice>> all;
  for (const auto& [field, choice] : nested_choices(const_cast<Options&>(options)))  // of which nothing is changed
    all.push_back({field, choice});
  return all;
}

}  // namespace effllm
