// Compressors of text, the yardsticks that need no training: each as it is installed on this machine.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace effllm {

struct Compressor {
  std::string name;  // with what decides how well it does: order, memory, how far it looks back
  // Size of the compressed text in bytes, header included. An Error where it isn't installed or fails.
  std::function<int64_t(std::string_view)> bytes;
};

// PPMd, bzip3, xz, bzip2, gzip. PPMd by 7-Zip where that is installed, otherwise as libarchive has it; bzip3 by its
// program; the rest by libarchive, whose sizes are those of the programs `xz -9` and `bzip2 -9`, and of zlib.
std::vector<Compressor> compressors();

}  // namespace effllm
