#include "support/paths.h"

namespace effllm::test {

const char* const kBinary = EFFLLM_BINARY;
const char* const kSourceDir = EFFLLM_SOURCE_DIR;

}  // namespace effllm::test
