#include "data/hugging_face.h"

#include <fmt/format.h>

#include "base/json.h"
#include "base/utf8.h"

namespace effllm {
namespace {

using nlohmann::json;

constexpr const char* kEnd = "\n";

// Each character is a token; a character that the vocabulary lacks is an error of their library, for the token that
// would stand for it is not there.
json by_character(const json& vocab) {
  return {{"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", "<unk>"}}},
          {"pre_tokenizer",
           {{"type", "Split"}, {"pattern", {{"Regex", "[\\s\\S]"}}}, {"behavior", "Isolated"}, {"invert", false}}},
          {"decoder", {{"type", "Fuse"}}}};
}

// Characters are looked up, others fall back to the tokens of their bytes, "<0xE2>". Nothing is merged.
json by_byte(const json& vocab) {
  const json decoders = {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  return {{"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", json::array()}}},
          {"pre_tokenizer", nullptr},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}}};
}

}  // namespace

HuggingFaceTokenizer hugging_face(const Tokenizer& tokenizer, int64_t longest) {
  json vocab = json::object();
  bool bytes = false;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    std::string text = tokenizer.decode(std::span(&id, 1));
    const bool one = !text.empty() && decode_utf8(text, 0).length == text.size();
    if (!one && text.size() != 1)
      throw ConfigError(
          "the tokens of the model are neither characters nor bytes: their files can't say what they are");
    if (!one) text = fmt::format("<0x{:02X}>", static_cast<unsigned char>(text.front()));
    bytes = bytes || !one;
    vocab[text] = id;
  }
  const json end = vocab.contains(kEnd) ? json(kEnd) : json();
  json all = bytes ? by_byte(vocab) : by_character(vocab);
  all["version"] = "1.0";
  for (const char* none : {"truncation", "padding", "normalizer", "post_processor"}) all[none] = nullptr;
  // No added tokens: newlines would be left out of what `tokenizers` decodes.
  all["added_tokens"] = json::array();
  const json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"eos_token", end},
                       {"clean_up_tokenization_spaces", false},
                       {"model_max_length", longest}};
  return {all.dump(1) + "\n", config.dump(1) + "\n"};
}

}  // namespace effllm
