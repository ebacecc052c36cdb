#include "cli_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/text.h"

namespace effllm::app {
namespace {

// What may have been meant by the first word or flag that nobody knows; empty where all are known.
std::string suggestion(const CLI::App& app, int argc, char** argv) {
  std::vector<const CLI::App*> path = {&app};  // effllm, data, prepare
  std::string spoken = "effllm";
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    // One dash too few; a letter that is a flag takes the rest as its value.
    const bool is_short = word.size() > 1 && std::ranges::any_of(path, [&](const CLI::App* a) {
                            return std::ranges::any_of(a->get_options(), [&](const CLI::Option* o) {
                              return std::ranges::find(o->get_snames(), word.substr(1, 1)) != o->get_snames().end();
                            });
                          });
    if (word.size() > 2 && word[0] == '-' && std::isalpha(static_cast<unsigned char>(word[1])) && !is_short)
      word.insert(0, "-");
    if (word.starts_with("--")) {
      const std::string flag = word.substr(0, word.find('='));
      std::vector<std::string> flags;
      for (const CLI::App* a : path)
        for (const auto* o : a->get_options())
          for (const auto& l : o->get_lnames()) flags.push_back("--" + l);
      if (std::ranges::find(flags, flag) == flags.end())
        return fmt::format("`{}` takes no {}.{}", spoken, flag, did_you_mean(flag, flags));
      if (argv[i] != word) return fmt::format("`{}` takes no {}. Did you mean `{}`?", spoken, argv[i], flag);
    } else if (!word.starts_with('-')) {
      const auto commands = path.back()->get_subcommands([](const CLI::App*) { return true; });
      if (commands.empty()) continue;
      std::vector<std::string> names;
      for (const auto* c : commands) names.push_back(c->get_name());
      const auto found = std::ranges::find(names, word);
      if (found == names.end())
        return fmt::format("`{}` has no command `{}`.{}", spoken, word, did_you_mean(word, names));
      path.push_back(commands[static_cast<size_t>(found - names.begin())]);
      spoken += " " + word;
    }
  }
  return "";
}

// "--top-k INT", "CONFIG"
std::string shown(const CLI::Option& o) {
  if (o.get_positional()) {
    std::string name = o.get_single_name();
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return name;
  }
  return o.get_name();
}

// The help of an option, as a sentence about it: "It overrides a key."
std::string what_it_does(const CLI::Option& o) {
  std::string help = o.get_description();
  if (!help.empty()) help[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(help[0])));
  return "It " + help;
}

std::string missing(const CLI::App& command, const std::string& spoken) {
  for (const CLI::Option* o : command.get_options())
    if (o->get_required() && o->count() == 0)
      return fmt::format("`{}` needs {}. {}", spoken, shown(*o), what_it_does(*o));
  return fmt::format("`{}` needs more", spoken);
}

// `name` as the library names an option; null where it is none of the command's.
const CLI::Option* option(const CLI::App& command, const std::string& name) {
  const auto all = command.get_options();
  const auto found = std::ranges::find_if(all, [&](const CLI::Option* o) { return o->get_name() == name; });
  return found == all.end() ? nullptr : *found;
}

std::string not_converted(const CLI::App& command, const std::string& name, const std::string& value) {
  const CLI::Option* o = option(command, name);
  const std::string type = o ? o->get_type_name() : "";
  if (type.empty()) return fmt::format("`{}` takes no value", name);
  const std::string_view wanted = type.starts_with("FLOAT") ? "a number" : "an integer";
  return fmt::format("`{}` takes {} that 64 bits can hold, not `{}`", name, wanted, value);
}

const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().back();
  return *at;
}

// Cuts `text` at `by`; the second part is empty where it does not occur.
std::pair<std::string, std::string> cut(const std::string& text, const std::string& by) {
  const size_t at = text.find(by);
  return at == text.npos ? std::pair(text, std::string()) : std::pair(text.substr(0, at), text.substr(at + by.size()));
}

}  // namespace

std::string spoken_command(const CLI::App& app) {
  std::string spoken = app.get_name();
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().back();
    spoken += " " + at->get_name();
  }
  return spoken;
}

// The library has a class for each kind of error, and the names in its text alone.
std::string explain(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  if (const std::string better = suggestion(app, argc, argv); !better.empty()) return better;
  const CLI::App& command = innermost(app);
  const std::string spoken = spoken_command(app), text = error.what();
  if (dynamic_cast<const CLI::RequiredError*>(&error)) return missing(command, spoken);
  if (dynamic_cast<const CLI::ExtrasError*>(&error))
    return fmt::format("`{}` takes no `{}`", spoken, cut(text, "expected: ").second);
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error)) {
    const std::string name = cut(text, ":").first;
    if (const CLI::Option* o = option(command, name))
      return fmt::format("`{}` needs a value. {}", name, what_it_does(*o));
    return fmt::format("`{}` takes no value", cut(text, " ").first);
  }
  if (dynamic_cast<const CLI::ConversionError*>(&error)) {
    const auto [name, value] = cut(cut(text, "convert: ").second, " = ");
    return name.empty() ? fmt::format("`{}` takes no value", cut(text, ":").first)
                        : not_converted(command, name, value);
  }
  if (dynamic_cast<const CLI::ValidationError*>(&error)) {
    const auto [name, message] = cut(text, ": ");
    return fmt::format("`{}` {}", name, message);
  }
  if (dynamic_cast<const CLI::ExcludesError*>(&error)) {
    const auto [one, other] = cut(text, " excludes ");
    return fmt::format("`{}` and `{}` exclude each other: give one", one, other);
  }
  return text;
}

}  // namespace effllm::app
