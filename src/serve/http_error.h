// Why a request is refused, as the completions protocol tells it.
#pragma once
#include <stdexcept>
#include <string>

namespace effllm {

// "code" of an error for what is longer than may be.
inline constexpr const char* kTooLong = "context_length_exceeded";

struct HttpError : std::runtime_error {
  // `field` of the body is to blame, where it is not empty; `name` says in a word what is wrong ("code").
  HttpError(int status_code, const std::string& message, std::string blamed = "", std::string name = "")
      : std::runtime_error(message), status(status_code), field(std::move(blamed)), code(std::move(name)) {}
  // {"error":{"message":..,"type":..,"param":..,"code":..}}; bytes that are not UTF-8 are U+FFFD.
  std::string body() const;

  int status;
  std::string field, code;
};

}  // namespace effllm
