#include "data/tokenizer.h"

#include <fmt/format.h>

#include <array>
#include <set>

#include "base/error.h"
#include "base/escapes.h"
#include "base/json.h"
#include "base/text.h"
#include "data/utf8.h"

namespace effllm {
namespace {

constexpr std::array<std::string_view, 2> kKinds = {"byte", "char"};

void check_id(int32_t id, int64_t vocab_size) {
  if (id < 0 || id >= vocab_size)
    throw DataError("token id {} is outside the vocabulary of {}", id, counted(vocab_size, "symbol"));
}

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

class ByteTokenizer : public Tokenizer {
 public:
  std::string kind() const override { return "byte"; }
  int64_t vocab_size() const override { return 256; }
  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    ids.reserve(text.size());
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (int32_t id : ids) {
      check_id(id, 256);
      text += static_cast<char>(static_cast<unsigned char>(id));
    }
    return text;
  }
  int64_t bytes_of(int32_t id) const override {
    check_id(id, 256);
    return 1;
  }
  int64_t characters_of(int32_t id) const override {
    check_id(id, 256);
    return (id & 0xC0) == 0x80 ? 0 : 1;
  }
  std::string to_json() const override { return nlohmann::json{{"kind", "byte"}}.dump(); }
};

class CharTokenizer : public Tokenizer {
 public:
  // `code_points` ascending and not empty: the id of a symbol is its index.
  explicit CharTokenizer(const std::vector<uint32_t>& code_points) : id_of_(code_points.back() + 1, -1) {
    for (uint32_t c : code_points) {
      id_of_[c] = static_cast<int32_t>(symbols_.size());
      append_utf8(symbols_.emplace_back(), c);
    }
  }
  std::string kind() const override { return "char"; }
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
      check_id(id, vocab_size());
      text += symbols_[static_cast<size_t>(id)];
    }
    return text;
  }
  int64_t bytes_of(int32_t id) const override {
    check_id(id, vocab_size());
    return static_cast<int64_t>(symbols_[static_cast<size_t>(id)].size());
  }
  int64_t characters_of(int32_t id) const override {
    check_id(id, vocab_size());
    return 1;
  }
  std::string to_json() const override {
    std::string all;
    for (const auto& s : symbols_) all += s;
    return nlohmann::json{{"kind", "char"}, {"symbols", all}}.dump();
  }

 private:
  std::vector<std::string> symbols_;  // [vocab_size], UTF-8
  std::vector<int32_t> id_of_;        // [largest code point + 1], -1 where the vocabulary lacks it
};

// The symbols of a stored char vocabulary, which must ascend strictly.
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

}  // namespace

std::unique_ptr<Tokenizer> build_tokenizer(std::string_view kind, std::string_view text) {
  if (kind == "byte") return std::make_unique<ByteTokenizer>();
  if (kind != "char")
    throw ConfigError("unknown tokenizer `{}`; choose byte or char.{}", kind, did_you_mean(kind, kKinds));
  std::set<uint32_t> seen;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = read_code_point(text, at);
    seen.insert(c.value);
    at += c.length;
  }
  if (seen.empty()) throw DataError("a char tokenizer needs a text to take its symbols from; this one is empty");
  return std::make_unique<CharTokenizer>(std::vector<uint32_t>(seen.begin(), seen.end()));
}

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json) {
  const auto tree = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto kind = tree.is_object() ? tree.find("kind") : tree.end();
  if (!tree.is_object() || kind == tree.end() || !kind->is_string())
    throw CheckpointError("the stored tokenizer is corrupt: not a JSON object with a `kind`");
  if (*kind == "byte" && tree.size() == 1) return std::make_unique<ByteTokenizer>();
  const auto symbols = tree.find("symbols");
  if (*kind == "char" && tree.size() == 2 && symbols != tree.end() && symbols->is_string())
    return std::make_unique<CharTokenizer>(stored_symbols(symbols->get<std::string>()));
  throw CheckpointError("the stored tokenizer of kind `{}` is corrupt, or of a kind that this version lacks",
                        printable(kind->get<std::string>()));
}

}  // namespace effllm
