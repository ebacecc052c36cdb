#include "serve/host_check.h"

#include <algorithm>

namespace effllm {

bool is_local_host(std::string_view header) {
  const size_t end = header.starts_with('[') ? header.find(']') : header.find(':') - 1;
  const std::string_view name = header.substr(0, end + 1), rest = header.substr(name.size());
  const std::string_view port = rest.substr(std::min<size_t>(1, rest.size()));
  const bool known = name == "127.0.0.1" || name == "localhost" || name == "[::1]";
  return known && (rest.empty() || (rest.front() == ':' && !port.empty() && port.size() <= 5 &&
                                    std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; })));
}

}  // namespace effllm
