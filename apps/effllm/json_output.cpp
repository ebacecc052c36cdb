#include "json_output.h"

#include <fmt/format.h>

#include "base/json.h"

namespace effllm::app {

std::string json_text(const nlohmann::json& j, int indent) {
  return j.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

void print_json(const nlohmann::json& j) { fmt::print("{}\n", json_text(j)); }

}  // namespace effllm::app
