#include "bench_output.h"

#include <fmt/format.h>

#include "base/table_formats.h"
#include "base/text.h"

namespace effllm::app {

void print(const Rows& rows, const BenchFormat& format) {
  fmt::print("{}", format.csv ? csv_table(rows) : format.markdown ? markdown_table(rows) : table(rows));
}

void note(const std::string& text, const BenchFormat& format) {
  fmt::print(format.csv || format.markdown ? stderr : stdout, "{}\n", text);
}

}  // namespace effllm::app
