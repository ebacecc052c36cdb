// What a general-purpose compressor makes of a text: a reference point for bits per byte.
#pragma once
#include <cstdint>
#include <string_view>

namespace effllm {

// Bytes of the whole text in gzip's format: zlib's DEFLATE at level 9, with header (10 bytes) and trailer (8). GNU gzip
// has a DEFLATE of its own; `gzip -9` comes within 0.2 % of this.
// MemoryError where zlib gets no memory.
int64_t gzip_bytes(std::string_view text);

}  // namespace effllm
