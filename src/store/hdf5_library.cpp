#include "store/hdf5_library.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <type_traits>

#include "base/error.h"
#include "base/limits.h"
#include "base/out_of_memory.h"
#include "base/text.h"

namespace effllm::hdf5 {
namespace {

static_assert(std::is_same_v<hid_t, int64_t> && std::is_same_v<herr_t, int>, "Handle is written for these types");

std::mutex library;

herr_t take_innermost(unsigned, const H5E_error2_t* entry, void* text) {
  auto& reason = *static_cast<std::string*>(text);
  if (reason.empty() && entry->desc) reason = entry->desc;
  return 0;
}

bool set_up() {
  H5dont_atexit();  // only counts before anything else
  check(H5open(), "start HDF5");
  check(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr), "silence HDF5");
  check(H5PLset_loading_state(0), "switch off plugins");
  return true;
}

}  // namespace

void fail(std::string_view action) {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &reason);
  H5Eclear2(H5E_DEFAULT);
  throw Failure(fmt::format("{}: {}", action, reason.empty() ? "HDF5 gives no reason" : reason));
}

Session::Session() : lock_(library) {
  constexpr size_t kRoom = size_t{8} << 20;  // the library does not stand being without
  if (!has_room(kRoom)) throw OutOfMemory("no memory for HDF5");
  [[maybe_unused]] static const bool ready = set_up();
}

const std::string& checked_name(const std::string& name) {
  if (name.empty() || name == "." || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    throw Failure(fmt::format("`{}` is not a name for a dataset or group", printable(name)));
  return name;
}

}  // namespace effllm::hdf5
