// A page that is one file: its style, scripts and data stand inside it, and its policy lets nothing else run or load.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"

namespace effllm {

struct Page {
  std::string title;    // text
  std::string body;     // HTML: whatever is text in it has gone through html()
  nlohmann::json data;  // for report.js; null: no script
};
std::string html_page(const Page& page);

// The first row as header; cells are text. Columns whose cells all begin with a digit, a sign or `<` stand on the
// right, with `right` all but the first. `classes` of rows below the header, where it is not empty; the first
// cell of a row of class `text` has the room of the dashes after it.
std::string html_table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::string>& classes = {},
                       bool right = false);

}  // namespace effllm
