#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "base/escapes.h"
#include "base/text.h"
#include "base/utf8.h"
#include "data/tokenizer.h"

namespace effllm {
namespace tokenizers {
extern const TokenizerInfo characters;
}
namespace {

// "`é` (U+00E9)", for messages.
std::string name_of(uint32_t code_point) {
  std::string utf8;
  append_utf8(utf8, code_point);
  return fmt::format("`{}` (U+{:04X})", escape(utf8), code_point);
}

// The code point at text[at], or a DataError that says where the text stops being UTF-8.
CodePoint read_code_point(std::string_view text, size_t at) {
  const CodePoint c = decode_utf8(text, at);
  if (c.length == 0)
    throw DataError(
        "the text is not UTF-8 at byte {} (0x{:02x}); convert it (`iconv -f latin1 -t utf-8`, where it is Latin-1), or "
        "use data.tokenizer: byte, which takes any file",
        at, static_cast<unsigned char>(text[at]));
  return c;
}

// Those that occur in a text, in code point order.
std::vector<uint32_t> symbols_of(std::string_view text) {
  std::set<uint32_t> seen;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = read_code_point(text, at);
    seen.insert(c.value);
    at += c.length;
  }
  if (seen.empty()) throw DataError("a char tokenizer needs a text to take its symbols from; this one is empty");
  return {seen.begin(), seen.end()};
}

// The symbols of a stored vocabulary, which must ascend strictly.
std::vector<uint32_t> stored_symbols(const std::string& text) {
  std::vector<uint32_t> code_points;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text, at);
    if (c.length == 0 || (!code_points.empty() && c.value <= code_points.back()))
      throw CheckpointError("the stored tokenizer is corrupt: its symbols are not in code point order at byte {}", at);
    code_points.push_back(c.value);
    at += c.length;
  }
  if (code_points.empty()) throw CheckpointError("the stored tokenizer is corrupt: it has no symbols");
  return code_points;
}

class Char final : public Tokenizer {
 public:
  explicit Char(std::string_view text) : Char(symbols_of(text)) {}
  // `code_points` ascending and not empty: the id of a symbol is its index.
  explicit Char(const std::vector<uint32_t>& code_points)
      : Tokenizer(tokenizers::characters), id_of_(code_points.back() + 1, -1) {
    for (uint32_t c : code_points) {
      id_of_[c] = static_cast<int32_t>(symbols_.size());
      append_utf8(symbols_.emplace_back(), c);
    }
  }
  int64_t vocab_size() const override { return static_cast<int64_t>(symbols_.size()); }
  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    ids.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = read_code_point(text, at);
      const int32_t id = c.value < id_of_.size() ? id_of_[c.value] : -1;
      if (id < 0)
        throw DataError("{} at byte {} is not in the vocabulary of {} (a model of data.tokenizer: byte takes any text)",
                        name_of(c.value), at, counted(vocab_size(), "symbol"));
      ids.push_back(id);
      at += c.length;
    }
    return ids;
  }
  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (int32_t id : ids) {
      require_id(id);
      text += symbols_[static_cast<size_t>(id)];
    }
    return text;
  }
  int64_t bytes_of(int32_t id) const override {
    require_id(id);
    return static_cast<int64_t>(symbols_[static_cast<size_t>(id)].size());
  }
  int64_t characters_of(int32_t id) const override {
    require_id(id);
    return 1;
  }
  std::optional<std::string> symbols() const override {
    std::string all;
    for (const auto& s : symbols_) all += s;
    return all;
  }

 private:
  std::vector<std::string> symbols_;  // [vocab_size], UTF-8
  std::vector<int32_t> id_of_;        // [largest code point + 1], -1 where the vocabulary lacks it
};

}  // namespace

namespace tokenizers {

constinit const TokenizerInfo characters = TokenizerInfo::of<Char>({
    .name = "char",
    .title = "the characters that occur in the corpus",
    .restore = +[](const std::optional<std::string>& symbols) -> std::unique_ptr<Tokenizer> {
      return symbols ? std::make_unique<Char>(stored_symbols(*symbols)) : nullptr;
    },
});

}  // namespace tokenizers
}  // namespace effllm
