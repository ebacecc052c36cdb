#include "serve/fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "serve/http_error.h"

namespace effllm {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& wanted, const nlohmann::json& got) {
  std::string shown = got.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (shown.size() > 60)
    shown = fmt::format("{} of {}", got.type_name(), counted(static_cast<int64_t>(got.size()), "item"));
  throw HttpError(400, fmt::format("`{}` must be {}, not {}", name, wanted, shown), name);
}

}  // namespace

Fields::Fields(const std::string& body) : all_(nlohmann::json::parse(body, nullptr, false)) {
  if (all_.is_discarded()) throw HttpError(400, "the body is no JSON (or not UTF-8)", "", "invalid_json");
  if (!all_.is_object()) throw HttpError(400, fmt::format("the body must be a JSON object, not {}", all_.type_name()));
}

const nlohmann::json& Fields::value(const std::string& name) {
  static const nlohmann::json nothing;
  known_.push_back(name);
  const auto found = all_.find(name);
  return found == all_.end() ? nothing : *found;
}

int64_t Fields::integer(const std::string& name, int64_t otherwise, int64_t lowest, int64_t highest) {
  const nlohmann::json& v = value(name);
  if (v.is_null()) return otherwise;
  const bool fits = v.is_number_integer() && (!v.is_number_unsigned() || v.get<uint64_t>() <= uint64_t{INT64_MAX});
  if (!fits || v.get<int64_t>() < lowest || v.get<int64_t>() > highest)
    refuse(name, fmt::format("an integer of {} to {}", lowest, highest), v);
  return v.get<int64_t>();
}

double Fields::number(const std::string& name, double otherwise) {
  const nlohmann::json& v = value(name);
  if (v.is_null()) return otherwise;
  if (!v.is_number()) refuse(name, "a number", v);
  return v.get<double>();
}

bool Fields::flag(const std::string& name, bool otherwise) {
  const nlohmann::json& v = value(name);
  if (v.is_null()) return otherwise;
  if (!v.is_boolean()) refuse(name, "true or false", v);
  return v.get<bool>();
}

std::string Fields::text(const std::string& name, const std::string& otherwise) {
  const nlohmann::json& v = value(name);
  if (v.is_null()) return otherwise;
  if (!v.is_string()) refuse(name, "a text", v);
  return v.get<std::string>();
}

void Fields::require_all_known() const {
  for (const auto& [name, v] : all_.items())
    if (std::ranges::find(known_, name) == known_.end())
      throw HttpError(
          400,
          fmt::format("`{}` is no field of this request.{}", printable(name.substr(0, 60)), did_you_mean(name, known_)),
          name.substr(0, 60), "unknown_field");
}

}  // namespace effllm
