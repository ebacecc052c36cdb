// Where the program and the checkout are: known to paths.cpp alone, so that every other object is the same in every
// checkout.
#pragma once

namespace effllm::test {

extern const char* const kBinary;
extern const char* const kSourceDir;

}  // namespace effllm::test
