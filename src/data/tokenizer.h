// Text to token ids and back. A tokenizer is an entry of a list; its vocabulary travels in checkpoints as JSON.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/list.h"

namespace effllm {

class Tokenizer;

struct TokenizerFacts {
  std::string_view name, title;
  int64_t vocab_size = 0;  // where it is the same for all texts
  // Of a stored vocabulary; null where it is none of this tokenizer's. CheckpointError where it is corrupt.
  std::unique_ptr<Tokenizer> (*restore)(const std::optional<std::string>& symbols);
};

// Built for a text, from which it may take its vocabulary; DataError where it can't.
using TokenizerInfo = Entry<Tokenizer, TokenizerFacts, std::string_view>;
extern const List<TokenizerInfo> all_tokenizers;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  std::string_view kind() const { return info_.name; }
  virtual int64_t vocab_size() const = 0;
  // DataError where the text holds a symbol that the vocabulary lacks: which one, at which byte.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  // So that bits per byte and per character exist for every tokenizer. A character is a UTF-8 code point, and counted
  // where it begins: the bytes after the first have none.
  virtual int64_t bytes_of(int32_t id) const = 0;
  virtual int64_t characters_of(int32_t id) const = 0;
  std::string to_json() const;

 protected:
  explicit Tokenizer(const TokenizerFacts& info) : info_(info) {}
  virtual std::optional<std::string> symbols() const { return {}; }  // its vocabulary, where a text gave it
  void require_id(int32_t id) const;                                 // DataError where it is none

 private:
  const TokenizerFacts& info_;
};

// CheckpointError where the JSON is not one that to_json wrote.
std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json);

}  // namespace effllm
