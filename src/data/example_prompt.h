// A prompt to suggest to who has trained on a text.
#pragma once
#include <string>
#include <string_view>

namespace effllm {

// The first words of `text`, on one line, about 20 characters, without symbols that a shell reads in double quotes: all
// of its symbols are in the text's vocabulary. Empty where the text has no such beginning, or is not UTF-8.
std::string example_prompt(std::string_view text);

}  // namespace effllm
