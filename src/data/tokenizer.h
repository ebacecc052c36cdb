// Text to token ids and back. A tokenizer is a named kind; its vocabulary travels in checkpoints as JSON.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace effllm {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string kind() const = 0;  // the name in the configuration: byte, char
  virtual int64_t vocab_size() const = 0;
  // DataError where the text holds a symbol that the vocabulary lacks: which one, at which byte.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  // So that bits per byte and per character exist for every tokenizer. A character is a UTF-8 code point, and counted
  // where it begins: the bytes after the first have none.
  virtual int64_t bytes_of(int32_t id) const = 0;
  virtual int64_t characters_of(int32_t id) const = 0;
  virtual std::string to_json() const = 0;
};

// `kind` byte: the 256 byte values. `kind` char: the UTF-8 code points that occur in `text`, in code point order.
// DataError for text that is not UTF-8 (kind char), ConfigError for another kind.
std::unique_ptr<Tokenizer> build_tokenizer(std::string_view kind, std::string_view text);
// CheckpointError where the JSON is not one that to_json wrote.
std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json);

}  // namespace effllm
