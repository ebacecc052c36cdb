#include "store/hdf5_read.h"

#include <hdf5.h>

#include "base/error.h"
#include "store/hdf5_library.h"

namespace effllm {

std::vector<double> read_hdf5_series(const std::filesystem::path& path, const std::string& dataset) {
  using namespace hdf5;
  try {
    const Session session;
    const Handle<H5Fclose> file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), "open");
    const Handle<H5Dclose> data(H5Dopen2(file, dataset.c_str(), H5P_DEFAULT), dataset);
    const Handle<H5Sclose> space(H5Dget_space(data), dataset);
    std::vector<double> values(static_cast<size_t>(check(H5Sget_simple_extent_npoints(space), dataset)));
    if (!values.empty()) check(H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), dataset);
    return values;
  } catch (const Failure& e) {
    throw DataError("{}: {}: {}", path.string(), dataset, e.what());
  }
}

}  // namespace effllm
