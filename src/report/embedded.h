// Files of the source and of libjs-dygraphs that stand in the program, for the pages that it writes.
#pragma once
#include <string_view>

namespace effllm {

extern const std::string_view kReportStyle;   // report.css
extern const std::string_view kReportScript;  // report.js
extern const std::string_view kDygraphs;      // dygraph.min.js, without the address of its source map

}  // namespace effllm
