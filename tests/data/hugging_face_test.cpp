#include "data/hugging_face.h"

#include <doctest/doctest.h>

#include "base/json.h"
#include "data/symbol_tokenizer.h"
#include "support/messages.h"
#include "support/named.h"

using namespace effllm;
using nlohmann::json;

TEST_CASE("hugging face: bytes are characters where they are, else tokens of their own, and nothing is merged") {
  const auto files = hugging_face(*build_tokenizer("byte", ""), 256);
  const json j = json::parse(files.tokenizer);
  const json& vocab = j.at("model").at("vocab");
  CHECK(vocab.size() == 256);
  CHECK(vocab.at("A") == 65);
  CHECK(vocab.at("\n") == 10);
  CHECK(vocab.at(std::string(1, '\0')) == 0);
  CHECK(vocab.at("<0x80>") == 128);
  CHECK(vocab.at("<0xFF>") == 255);
  CHECK(j.at("model").at("type") == "BPE");
  CHECK(j.at("model").at("byte_fallback") == true);
  CHECK(j.at("model").at("merges") == json::array());
  CHECK(j.at("added_tokens") == json::array());
  for (const char* none : {"normalizer", "pre_tokenizer", "post_processor"}) CHECK(j.at(none).is_null());
  CHECK(j.at("decoder").at("decoders") == json::parse(R"([{"type": "ByteFallback"}, {"type": "Fuse"}])"));
  const json config = json::parse(files.config);
  CHECK(config.at("eos_token") == "\n");
  CHECK(config.at("model_max_length") == 256);
  CHECK(config.at("tokenizer_class") == "PreTrainedTokenizerFast");
}

TEST_CASE("hugging face: characters are tokens each, and what the vocabulary lacks has none") {
  const auto t = build_tokenizer("char", "b\n\xC3\xA9 a");
  const json j = json::parse(hugging_face(*t, 9).tokenizer);
  CHECK(j.at("model").at("type") == "WordLevel");
  CHECK(j.at("model").at("vocab") == json({{"\n", 0}, {" ", 1}, {"a", 2}, {"b", 3}, {"\xC3\xA9", 4}}));
  CHECK(!j.at("model").at("vocab").contains(j.at("model").at("unk_token").get<std::string>()));
  CHECK(j.at("pre_tokenizer").at("pattern") == json::parse(R"({"Regex": "[\\s\\S]"})"));
  CHECK(j.at("pre_tokenizer").at("behavior") == "Isolated");
  CHECK(j.at("decoder").at("type") == "Fuse");
  CHECK(json::parse(hugging_face(*build_tokenizer("char", "ab"), 9).config).at("eos_token").is_null());
}

TEST_CASE("hugging face: words of a task are no characters") {
  CHECK(message_of<ConfigError>([] {
          hugging_face(*symbol_tokenizer({"a", "b"}), 9);
        }) == "the tokens of the model are neither characters nor bytes: their files can't say what they are");
}
