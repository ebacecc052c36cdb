#include "data/tokenizer.h"

namespace effllm {
namespace tokenizers {
extern const TokenizerInfo byte;
}
namespace {

constexpr int64_t kBytes = 256;

class Byte final : public Tokenizer {
 public:
  explicit Byte(std::string_view /*text*/ = {}) : Tokenizer(tokenizers::byte) {}
  int64_t vocab_size() const override { return kBytes; }
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
      require_id(id);
      text += static_cast<char>(static_cast<unsigned char>(id));
    }
    return text;
  }
  int64_t bytes_of(int32_t id) const override {
    require_id(id);
    return 1;
  }
  int64_t characters_of(int32_t id) const override {
    require_id(id);
    return (id & 0xC0) == 0x80 ? 0 : 1;
  }
};

}  // namespace

namespace tokenizers {

constinit const TokenizerInfo byte = TokenizerInfo::of<Byte>({
    .name = "byte",
    .title = "the 256 byte values",
    .vocab_size = kBytes,
    .restore = +[](const std::optional<std::string>& symbols) -> std::unique_ptr<Tokenizer> {
      return symbols ? nullptr : std::make_unique<Byte>();
    },
});

}  // namespace tokenizers
}  // namespace effllm
