#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/file.h"
#include "io/hdf5.h"
#include "io/hdf5_library.h"

namespace effllm {
namespace {

using namespace hdf5;
using File = Handle<H5Fclose>;
using Object = Handle<H5Oclose>;
using Space = Handle<H5Sclose>;
using Type = Handle<H5Tclose>;
using Properties = Handle<H5Pclose>;

// Far above what write_hdf5 makes of the longest runs: 67 million rows, 64 KiB a chunk.
constexpr int64_t kMaxBytes = int64_t{256} << 20;
constexpr hsize_t kMaxRows = hsize_t{1} << 26, kMaxChunkBytes = hsize_t{1} << 20, kMaxChunks = 1 << 16;

// The object at `path`, reached through hard links only: soft and external links could lead to other files.
Object open_object(hid_t file, std::string_view path) {
  Object at(H5Oopen(file, "/", H5P_DEFAULT), "/");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name(path.substr(begin, end - begin));
    checked_name(name);
    if (check(H5Iget_type(at), name) != H5I_GROUP || check(H5Lexists(at, name.c_str(), H5P_DEFAULT), name) == 0)
      throw Failure(fmt::format("there is no `{}`", printable(path)));
    H5L_info_t link;
    check(H5Lget_info(at, name.c_str(), &link, H5P_DEFAULT), name);
    if (link.type != H5L_TYPE_HARD) throw Failure(fmt::format("`{}` is a link to elsewhere", printable(path)));
    Object next(H5Oopen(at, name.c_str(), H5P_DEFAULT), name);
    at = std::move(next);
    begin = end + 1;
  }
  return at;
}

// Refuses storage that write_rows never makes, and compressed chunks that could unfold without bound.
void check_storage(hid_t dataset, hsize_t rows, hsize_t row_bytes) {
  const Properties p(H5Dget_create_plist(dataset), "properties");
  hsize_t chunk = 0;
  if (check(H5Pget_external_count(p), "external files") != 0) throw Failure("data in another file");
  if (check(H5Pget_layout(p), "layout") != H5D_CHUNKED || check(H5Pget_chunk(p, 1, &chunk), "chunk") != 1)
    throw Failure("not stored in chunks");
  const int filters = check(H5Pget_nfilters(p), "filters");
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    size_t values = 0;
    const auto id =
        check(H5Pget_filter2(p, static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, nullptr), "filter");
    if (id != H5Z_FILTER_SHUFFLE && id != H5Z_FILTER_DEFLATE && id != H5Z_FILTER_FLETCHER32)
      throw Failure(fmt::format("filter {} is not expected", static_cast<int>(id)));
  }
  if (filters > 3 || chunk == 0 || chunk > kMaxChunkBytes / row_bytes || rows / chunk >= kMaxChunks)
    throw Failure("absurd chunks");
  // Deflate unfolds at most 1032 times, so a stored chunk of this size stays below 1.1 GB whatever it holds.
  for (hsize_t at = 0; at < rows; at += chunk) {
    hsize_t stored = 0;
    check(H5Dget_chunk_storage_size(dataset, &at, &stored), "chunk");
    if (stored > chunk * row_bytes + 4096) throw Failure("absurd chunks");
  }
}

// With an image set, the library works on its copy of `content` and opens no file; the name is only a label.
std::vector<double> read_rows(std::string& content, std::string_view path) {
  const Properties access(H5Pcreate(H5P_FILE_ACCESS), "create properties");
  check(H5Pset_fapl_core(access, 1 << 20, 0), "read in memory");
  check(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "set the way of closing");
  check(H5Pset_file_image(access, content.data(), content.size()), "read in memory");
  const File file(H5Fopen("metrics.h5", H5F_ACC_RDONLY, access), "open");
  const Object dataset = open_object(file, path);
  if (check(H5Iget_type(dataset), path) != H5I_DATASET) throw Failure(fmt::format("`{}` is a group", printable(path)));
  const Space space(H5Dget_space(dataset), path);
  const Type type(H5Dget_type(dataset), path);
  hsize_t rows = 0;
  if (check(H5Sget_simple_extent_ndims(space), path) != 1) throw Failure("not one-dimensional");
  check(H5Sget_simple_extent_dims(space, &rows, nullptr), path);
  if (rows > kMaxRows) throw Failure(fmt::format("{} rows are too many", rows));
  if (check(H5Tequal(type, H5T_IEEE_F64LE), path) <= 0 && check(H5Tequal(type, H5T_STD_I64LE), path) <= 0)
    throw Failure("neither float64 nor int64");
  check_storage(dataset, rows, 8);
  std::vector<double> values(rows);
  if (rows > 0) check(H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), path);
  return values;
}

}  // namespace

std::vector<double> read_hdf5_series(const std::filesystem::path& path, std::string_view dataset) {
  std::string content = read_file(path, kMaxBytes);
  try {
    const Session session;
    return read_rows(content, dataset);
  } catch (const Failure& e) {
    throw DataError("{}: dataset {}: {}; the file can be made anew from the run's metrics.jsonl",
                    printable(path.string()), printable(dataset), printable(e.what()));
  }
}

}  // namespace effllm
