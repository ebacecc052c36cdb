#include "data/symbol_tokenizer.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "base/error.h"
#include "base/escapes.h"
#include "base/text.h"

namespace effllm {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = text.find_first_not_of(kBlanks); at != text.npos;) {
    const size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = text.find_first_not_of(kBlanks, end);
  }
  return words;
}

class SymbolTokenizer final : public Tokenizer {
 public:
  explicit SymbolTokenizer(std::vector<std::string> symbols)
      : Tokenizer(kSymbolTokenizer), symbols_(std::move(symbols)) {
    for (size_t i = 0; i < symbols_.size(); ++i) id_of_[symbols_[i]] = static_cast<int32_t>(i);
    require(id_of_.size() == symbols_.size(), "two symbols of {} are the same", symbols_.size());
  }
  int64_t vocab_size() const override { return static_cast<int64_t>(symbols_.size()); }
  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    for (const std::string& word : words_of(text)) {
      const auto found = id_of_.find(word);
      if (found == id_of_.end())
        throw DataError("`{}` is none of the {} of the task, such as {}", printable(word),
                        counted(vocab_size(), "symbol"), symbols_.front());
      ids.push_back(found->second);
    }
    return ids;
  }
  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      require_id(id);
      text += symbols_[static_cast<size_t>(id)] + " ";
    }
    return text;
  }
  int64_t bytes_of(int32_t id) const override {
    require_id(id);
    return static_cast<int64_t>(symbols_[static_cast<size_t>(id)].size()) + 1;
  }
  int64_t characters_of(int32_t id) const override { return bytes_of(id); }
  std::optional<std::string> symbols() const override { return fmt::format("{}", fmt::join(symbols_, " ")); }

 private:
  std::vector<std::string> symbols_;
  std::map<std::string, int32_t> id_of_;
};

}  // namespace

constinit const TokenizerFacts kSymbolTokenizer = {
    .name = "symbols",
    .title = "the words of a task",
    .restore = +[](const std::optional<std::string>& symbols) -> std::unique_ptr<Tokenizer> {
      if (!symbols) return nullptr;
      std::vector<std::string> words = words_of(*symbols);
      if (words.empty() || std::set<std::string>(words.begin(), words.end()).size() != words.size())
        throw CheckpointError("the stored tokenizer is corrupt: its words are not different");
      return std::make_unique<SymbolTokenizer>(std::move(words));
    },
};

std::unique_ptr<Tokenizer> symbol_tokenizer(std::vector<std::string> symbols) {
  return std::make_unique<SymbolTokenizer>(std::move(symbols));
}

}  // namespace effllm
