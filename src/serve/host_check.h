// Which names a server of this machine alone answers to.
#pragma once
#include <string_view>

namespace effllm {

// Whether a Host header means this machine, with any port or none: 127.0.0.1, localhost or [::1]. A page of a foreign
// site, whose name somebody lets point to this machine, sends that name.
bool is_local_host(std::string_view header);

}  // namespace effllm
