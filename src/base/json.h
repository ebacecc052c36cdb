// nlohmann's JSON, compiled once instead of in each file that uses it.
#pragma once

#include <nlohmann/json.hpp>

extern template class nlohmann::basic_json<>;
