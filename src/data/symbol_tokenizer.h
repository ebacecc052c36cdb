// The words of a task: its vocabulary is the task's, not a text's, so that it is none of the choices of data.tokenizer.
#pragma once
#include "data/tokenizer.h"

namespace effllm {

extern const TokenizerFacts kSymbolTokenizer;

// A token is a word; words of a text stand apart by blanks and line breaks, and one blank follows each when they are
// written. `symbols`: the words, none of them empty or with a blank, each another.
std::unique_ptr<Tokenizer> symbol_tokenizer(std::vector<std::string> symbols);

}  // namespace effllm
