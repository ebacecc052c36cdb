// The C library HDF5 behind handles that close themselves and results that cannot be ignored, for src/store/hdf5*.cpp.
#pragma once
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace effllm::hdf5 {

// What HDF5 refused; the public functions turn it into an error that names the file.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws a Failure with the innermost reason on the library's error stack, which is empty afterwards.
[[noreturn]] void fail(std::string_view action);

// Passes an HDF5 result through; negative ones mean failure.
template <class Result>
Result check(Result result, std::string_view action) {
  if (result < 0) fail(action);
  return result;
}

// An HDF5 identifier (hid_t) and the function that closes it.
template <int (*kClose)(int64_t)>
class Handle {
 public:
  Handle(int64_t id, std::string_view action) : id_(check(id, action)) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) kClose(id_);
  }
  operator int64_t() const { return id_; }
  void close(std::string_view action) { check(kClose(std::exchange(id_, -1)), action); }

 private:
  int64_t id_;
};

// Time in the library, which is one big global state: one caller at a time. The first also sets it up: no messages of
// its own, no plugins, and no work at exit, where it has been seen to crash after a failed write.
class Session {
 public:
  Session();

 private:
  std::unique_lock<std::mutex> lock_;
};

// The name, or a Failure where it cannot be one component of a path.
const std::string& checked_name(const std::string& name);

}  // namespace effllm::hdf5
