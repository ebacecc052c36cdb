// Sizes of what libarchive writes: one library for gzip, bzip2, xz and PPMd.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace effllm {

// Bytes of `text` compressed by `filter` ("gzip", "bzip2", "xz") at level 9, as a file of its own. DataError where the
// library can't, MemoryError where memory is short.
int64_t filtered_bytes(const std::string& filter, std::string_view text);

// Bytes of a 7z file that holds `text` by PPMd (variant H), with the order and the memory that libarchive fixes.
int64_t ppmd_bytes(std::string_view text);

}  // namespace effllm
