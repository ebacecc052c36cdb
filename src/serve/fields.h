// Fields of a request's body, each asked for once: what is wrong with one is an error that names it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace effllm {

class Fields {
 public:
  // HttpError 400 where the text is no JSON, or no object.
  explicit Fields(const std::string& body);

  // The value of a field, or null: a field that is null is one that is not there.
  const nlohmann::json& value(const std::string& name);
  // HttpError 400, naming the field, where it is there and of another type or outside [lowest, highest].
  int64_t integer(const std::string& name, int64_t otherwise, int64_t lowest, int64_t highest);
  double number(const std::string& name, double otherwise);
  bool flag(const std::string& name, bool otherwise);
  std::string text(const std::string& name, const std::string& otherwise);
  // HttpError 400 for the first that nobody has asked for.
  void require_all_known() const;

 private:
  nlohmann::json all_;
  std::vector<std::string> known_;
};

}  // namespace effllm
