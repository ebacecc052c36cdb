// Errors by what they say.
#pragma once
#include <string>
#include <string_view>

namespace effllm {

// What `call` throws as an E, or "" where it throws nothing. Other exceptions pass and fail the test.
template <class E, class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  return "";
}
inline bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace effllm
