// Help is read by people: every command, option and key says what it does in a whole sentence.
#include <nlohmann/json.hpp>
#include <regex>

#include "cli/system.h"

using namespace effllm;
using namespace effllm::test;

namespace {

bool is_sentence(const std::string& text) {
  static const std::regex sentence("[A-Z`][^]*\\.\\)?");
  return std::regex_match(text, sentence);
}

struct Entry {
  std::string section, name, meaning;
};

// The entries of a command's help: a line of two spaces, a name and its meaning, and lines that go on with that.
std::vector<Entry> entries_of(const std::string& help) {
  constexpr size_t kMeaning = 30;  // its column
  static const std::regex heading("(\\w+):"), begins("  (\\S+).*"), goes_on("\\s{3,}(\\S.*)");
  std::vector<Entry> all;
  std::string section;
  std::istringstream lines(help);
  std::smatch m;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_match(line, m, heading))
      section = m[1];
    else if (!section.empty() && std::regex_match(line, m, begins))
      all.push_back({section, m[1], line.size() > kMeaning && line[kMeaning - 1] == ' ' ? line.substr(kMeaning) : ""});
    else if (!all.empty() && std::regex_match(line, m, goes_on))
      all.back().meaning += (all.back().meaning.empty() ? "" : " ") + m[1].str();
  }
  return all;
}

// Checks the help of a command and of those under it; returns how many entries there were.
int check_help(const World& w, const Words& command) {
  Words words = with(command, {"--help"});
  int count = 0;
  for (const Entry& e : entries_of(w.effllm(words).out)) {
    CAPTURE(e.name);
    CHECK_MESSAGE(is_sentence(e.meaning), e.meaning);
    ++count;
    if (e.section != "Subcommands") continue;
    words = command;
    words.push_back(e.name);
    count += check_help(w, words);
  }
  return count;
}

// The same of every key in what a list prints.
int check_meanings(const nlohmann::json& list) {
  int count = 0;
  for (const auto& item : list) {
    if (item.is_object() && item.contains("meaning")) {
      CAPTURE(item.dump());
      CHECK(is_sentence(item["meaning"]));
      ++count;
    } else if (item.is_structured()) {
      count += check_meanings(item);
    }
  }
  return count;
}

}  // namespace

TEST_CASE("cli: the help of every command and option is a sentence") {
  const World w;
  CHECK(check_help(w, {}) > 150);
}

TEST_CASE("cli: the meaning of every key and option of a configuration is a sentence") {
  const World w;
  const auto list = [&](const char* kind) {
    return nlohmann::json::parse(w.effllm({"list", kind, "--long", "--json"}).out);
  };
  CHECK(check_meanings(list("options")) > 60);
  CHECK(check_meanings(list("mixers")) > 100);
  CHECK(check_meanings(list("ffns")) > 5);
  CHECK(check_meanings(list("optimizers")) > 5);
}
