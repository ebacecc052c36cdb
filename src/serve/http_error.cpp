#include "serve/http_error.h"

#include "base/json.h"

namespace effllm {
namespace {

const char* type_of(int status) {
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

nlohmann::json or_null(const std::string& s) { return s.empty() ? nlohmann::json() : nlohmann::json(s); }

}  // namespace

std::string HttpError::body() const {
  const nlohmann::json error = {
      {"message", what()}, {"type", type_of(status)}, {"param", or_null(field)}, {"code", or_null(code)}};
  return nlohmann::json{{"error", error}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace effllm
