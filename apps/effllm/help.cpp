#include "help.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <sstream>

#include "base/terminal.h"
#include "base/text.h"

namespace effllm::app {
namespace {

constexpr size_t kMeaning = 30;  // the column at which the meaning of an option begins

class WrappedHelp final : public CLI::Formatter {
 public:
  WrappedHelp() { column_width(kMeaning); }
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    const int columns = output_columns();
    const auto most = static_cast<size_t>(std::max(columns > 0 ? columns : 80, 50));
    std::istringstream lines(CLI::Formatter::make_help(app, std::move(name), mode));
    std::string out;
    for (std::string line; std::getline(lines, line);) {
      const size_t indent = line.size() > kMeaning && line[kMeaning - 1] == ' ' && line[0] == ' ' ? kMeaning : 0;
      const std::vector<std::string> parts = wrapped(std::string_view(line).substr(indent), most - indent);
      out += line.substr(0, indent) + parts[0] + "\n";
      for (size_t i = 1; i < parts.size(); ++i) out += std::string(indent, ' ') + parts[i] + "\n";
    }
    return out;
  }
  // What may be given as a word or as a flag is needed once: the word says so.
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    std::string line = CLI::Formatter::make_option(option, is_positional);
    const std::string needed = " " + get_label("REQUIRED");
    if (const size_t at = line.find(needed); at != line.npos && !is_positional && option->get_positional())
      line.replace(at, needed.size(), at + needed.size() < kMeaning ? std::string(needed.size(), ' ') : "");
    return line;
  }
};

}  // namespace

void wrap_help(CLI::App& app) { app.formatter(std::make_shared<WrappedHelp>()); }

}  // namespace effllm::app
