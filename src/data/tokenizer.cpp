#include "data/tokenizer.h"

#include "base/error.h"
#include "base/escapes.h"
#include "base/json.h"
#include "base/text.h"
#include "data/symbol_tokenizer.h"

namespace effllm {

void Tokenizer::require_id(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw DataError("token id {} is outside the vocabulary of {}", id, counted(vocab_size(), "symbol"));
}

std::string Tokenizer::to_json() const {
  nlohmann::json tree = {{"kind", kind()}};
  if (const auto all = symbols()) tree["symbols"] = *all;
  return tree.dump();
}

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json) {
  const auto tree = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto kind = tree.is_object() ? tree.find("kind") : tree.end();
  if (!tree.is_object() || kind == tree.end() || !kind->is_string())
    throw CheckpointError("the stored tokenizer is corrupt: not a JSON object with a `kind`");
  const auto name = kind->get<std::string>();
  const auto stored = tree.find("symbols");
  std::optional<std::string> symbols;
  if (stored != tree.end() && stored->is_string()) symbols = stored->get<std::string>();
  const TokenizerFacts* info = name == kSymbolTokenizer.name ? &kSymbolTokenizer : all_tokenizers.find_if_any(name);
  if (info && tree.size() == (symbols ? 2 : 1))
    if (auto tokenizer = info->restore(symbols)) return tokenizer;
  throw CheckpointError("the stored tokenizer of kind `{}` is corrupt, or of a kind that this version lacks",
                        printable(name));
}

}  // namespace effllm
