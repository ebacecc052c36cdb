// Reads what write_hdf5 wrote, by the library's own means.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace effllm {

// The numbers of one 1-D dataset such as "train/loss". DataError where there is none or the library refuses.
std::vector<double> read_hdf5_series(const std::filesystem::path& path, const std::string& dataset);

}  // namespace effllm
