// Text on its way into a page: nothing that a study, a run or a file is called can become markup.
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"

namespace effllm {

// For element content and quoted attributes. Control bytes and bytes that are not UTF-8 are written out (printable()),
// and so are the characters that turn the direction of a line, <U+202E>.
std::string html(std::string_view text);
// A JSON document for the inside of a script element: no byte of it is markup.
std::string script_json(const nlohmann::json& j);

}  // namespace effllm
