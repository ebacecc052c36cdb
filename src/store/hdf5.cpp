#include "store/hdf5.h"

#include <fmt/format.h>
#include <hdf5.h>
#include <hdf5_hl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "store/file.h"
#include "store/hdf5_library.h"

namespace effllm {
namespace {

using namespace hdf5;
using File = Handle<H5Fclose>;
using Group = Handle<H5Gclose>;
using Dataset = Handle<H5Dclose>;
using Space = Handle<H5Sclose>;
using Type = Handle<H5Tclose>;
using Properties = Handle<H5Pclose>;
using Attribute = Handle<H5Aclose>;

constexpr hsize_t kChunkRows = 8192;  // of 8 bytes; wider rows get chunks of the same 64 KiB
constexpr size_t kMaxEventText = 1024, kMaxEventLevel = 16;

// The memory of a file under construction. HDF5 allocates through these callbacks, and at closing leaves it to us.
struct Image {
  std::byte* data = nullptr;
  size_t capacity = 0;
  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() { std::free(data); }

  static void* allocate(size_t bytes, H5FD_file_image_op_t, void* self) { return resize(nullptr, bytes, {}, self); }
  static void* copy(void* to, const void* from, size_t bytes, H5FD_file_image_op_t, void*) {
    return std::memcpy(to, from, bytes);
  }
  static void* resize(void* old, size_t bytes, H5FD_file_image_op_t, void* self) {
    auto& image = *static_cast<Image*>(self);
    auto* data = static_cast<std::byte*>(std::realloc(old, bytes));
    if (!data) return nullptr;
    const size_t used = old ? image.capacity : 0;
    if (bytes > used) std::memset(data + used, 0, bytes - used);
    image.data = data;
    image.capacity = bytes;
    return data;
  }
  static herr_t keep(void*, H5FD_file_image_op_t, void*) { return 0; }
  static void* same(void* self) { return self; }
  static herr_t leave(void*) { return 0; }

  // What belongs in the file: the superblock (version 3) says at byte 28 where the file ends.
  std::span<const std::byte> content() const {
    static constexpr std::array<unsigned char, 9> kStart = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n', 3};
    uint64_t end = 0;
    if (capacity < 48 || std::memcmp(data, kStart.data(), kStart.size()) != 0) throw Failure("no HDF5 file in memory");
    std::memcpy(&end, data + 28, sizeof end);
    if (end > capacity) throw Failure("the HDF5 file in memory is cut short");
    return {data, static_cast<size_t>(end)};
  }
};

// Of `bytes` bytes padded with zeros, or of H5T_VARIABLE length.
Type text_type(size_t bytes, H5T_cset_t set = H5T_CSET_UTF8) {
  Type type(H5Tcopy(H5T_C_S1), "copy the text type");
  check(H5Tset_size(type, bytes), "set the length of a text");
  check(H5Tset_cset(type, set), "set the characters of a text");
  if (bytes != H5T_VARIABLE) check(H5Tset_strpad(type, H5T_STR_NULLPAD), "set the padding of a text");
  return type;
}

// Of variable length, because Python then shows a str and not bytes.
void write_attribute(hid_t object, const std::string& name, const std::string& value) {
  const Type type = text_type(H5T_VARIABLE);
  const Space space(H5Screate(H5S_SCALAR), name);
  const Attribute a(H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), "attribute " + name);
  const char* text = value.c_str();
  check(H5Awrite(a, type, &text), "attribute " + name);
}

void write_attribute(hid_t object, const std::string& name, int64_t value) {
  const Space space(H5Screate(H5S_SCALAR), name);
  const Attribute a(H5Acreate2(object, name.c_str(), H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT),
                    "attribute " + name);
  check(H5Awrite(a, H5T_NATIVE_INT64, &value), "attribute " + name);
}

void describe(hid_t dataset, const std::string& units, const std::string& long_name) {
  write_attribute(dataset, "units", units);
  write_attribute(dataset, "long_name", long_name);
}

Properties untimed(hid_t kind) {  // without time stamps the same document gives the same bytes
  Properties p(H5Pcreate(kind), "create properties");
  check(H5Pset_obj_track_times(p, 0), "switch off time stamps");
  return p;
}

// A 1-D dataset, compressed and checksummed. `stored` is the type in the file, `native` that of `rows`.
Dataset write_rows(hid_t group, const std::string& name, hid_t stored, hid_t native, const void* rows, size_t count) {
  const hsize_t size = count, unlimited = H5S_UNLIMITED;
  const hsize_t bytes = H5Tget_size(stored);
  const hsize_t chunk = std::clamp<hsize_t>(size, 1, std::max<hsize_t>(kChunkRows * 8 / bytes, 1));
  const Space space(H5Screate_simple(1, &size, &unlimited), name);
  const Properties p = untimed(H5P_DATASET_CREATE);
  check(H5Pset_chunk(p, 1, &chunk), name);
  check(H5Pset_shuffle(p), name);
  check(H5Pset_deflate(p, 1), name);
  check(H5Pset_fletcher32(p), name);
  Dataset d(H5Dcreate2(group, checked_name(name).c_str(), stored, space, H5P_DEFAULT, p, H5P_DEFAULT), name);
  if (count > 0) check(H5Dwrite(d, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows), name);
  return d;
}

// A dataset, not an attribute: those end at 64 KiB. Of fixed length and ASCII: Octave's load fails for a whole file
// with any other text in a dataset.
void write_text(hid_t file, const std::string& name, const std::string& text) {
  if (std::ranges::any_of(text, [](char c) { return c <= 0; })) throw Failure("the text " + name + " is not ASCII");
  const Type type = text_type(std::max<size_t>(text.size(), 1), H5T_CSET_ASCII);
  const Space space(H5Screate(H5S_SCALAR), name);
  const Properties p = untimed(H5P_DATASET_CREATE);
  const Dataset d(H5Dcreate2(file, checked_name(name).c_str(), type, space, H5P_DEFAULT, p, H5P_DEFAULT), name);
  check(H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.c_str()), name);
}

void write_group(hid_t file, const H5Group& group) {
  const Properties p = untimed(H5P_GROUP_CREATE);
  const Group g(H5Gcreate2(file, checked_name(group.name).c_str(), H5P_DEFAULT, p, H5P_DEFAULT), group.name);
  const Dataset step = write_rows(g, "step", H5T_STD_I64LE, H5T_NATIVE_INT64, group.step.data(), group.step.size());
  describe(step, "1", "optimizer step");
  // As a dimension scale, step is the coordinate that xarray and netCDF readers put under each series.
  check(H5DSset_scale(step, "step"), group.name + "/step");
  for (const H5Series& s : group.series) {
    require(s.values.size() == group.step.size(), "write_hdf5: {}/{} has {} values for {} steps", group.name, s.name,
            s.values.size(), group.step.size());
    const Dataset d = write_rows(g, s.name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, s.values.data(), s.values.size());
    describe(d, s.units, s.long_name);
    check(H5DSattach_scale(d, step, 0), group.name + "/" + s.name);
  }
}

// The length to keep of a text so that no UTF-8 character is cut.
size_t fitting(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text.size();
  while (limit > 0 && (text[limit] & 0xC0) == 0x80) --limit;
  return limit;
}

void write_events(hid_t file, const std::vector<H5Document::Event>& events) {
  size_t level_bytes = 1, text_bytes = 1;
  for (const auto& e : events) {
    level_bytes = std::max(level_bytes, fitting(e.level, kMaxEventLevel));
    text_bytes = std::max(text_bytes, fitting(e.text, kMaxEventText));
  }
  // Rows lie packed: step, wall_s, level, text. The machine is little-endian, so memory and file agree.
  const size_t row_bytes = 16 + level_bytes + text_bytes;
  const Type level = text_type(level_bytes), text = text_type(text_bytes);
  const Type row(H5Tcreate(H5T_COMPOUND, row_bytes), "events");
  check(H5Tinsert(row, "step", 0, H5T_STD_I64LE), "events");
  check(H5Tinsert(row, "wall_s", 8, H5T_IEEE_F64LE), "events");
  check(H5Tinsert(row, "level", 16, level), "events");
  check(H5Tinsert(row, "text", 16 + level_bytes, text), "events");
  std::string rows(row_bytes * events.size(), '\0');
  for (size_t i = 0; i < events.size(); ++i) {
    char* at = rows.data() + i * row_bytes;
    std::memcpy(at, &events[i].step, 8);
    std::memcpy(at + 8, &events[i].wall_s, 8);
    std::memcpy(at + 16, events[i].level.data(), fitting(events[i].level, kMaxEventLevel));
    std::memcpy(at + 16 + level_bytes, events[i].text.data(), fitting(events[i].text, kMaxEventText));
  }
  const Dataset d = write_rows(file, "events", row, row, rows.data(), events.size());
  describe(d, "", "events of the run");
}

void build(Image& image, const H5Document& document) {
  Properties access(H5Pcreate(H5P_FILE_ACCESS), "create properties");
  check(H5Pset_fapl_core(access, 1 << 20, 0), "build in memory");
  H5FD_file_image_callbacks_t callbacks = {Image::allocate, Image::copy,  Image::resize, Image::keep,
                                           Image::same,     Image::leave, &image};
  check(H5Pset_file_image_callbacks(access, &callbacks), "build in memory");
  // Version 1.10 checksums all metadata, so a damaged file is noticed instead of read wrongly.
  check(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), "set the format version");
  check(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "set the way of closing");
  File file(H5Fcreate("metrics.h5", H5F_ACC_TRUNC, untimed(H5P_FILE_CREATE), access), "create the file in memory");
  for (const auto& [name, value] : document.string_attributes) write_attribute(file, name, value);
  for (const auto& [name, value] : document.int_attributes) write_attribute(file, name, value);
  for (const auto& [name, text] : document.texts) write_text(file, name, text);
  for (const H5Group& group : document.groups) write_group(file, group);
  write_events(file, document.events);
  file.close("finish the file in memory");
}

}  // namespace

void write_hdf5(const std::filesystem::path& path, const H5Document& document) {
  Image image;
  try {
    const Session session;
    build(image, document);
    const std::span<const std::byte> piece = image.content();
    write_file_atomic(path, std::span(&piece, 1));
  } catch (const Failure& e) {
    throw IoError("cannot build {}: {}", printable(path.string()), printable(e.what()));
  }
}

}  // namespace effllm
