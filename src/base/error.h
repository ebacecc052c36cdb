// The kinds of errors, each with the exit code that main() maps it to.
#pragma once
#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace effllm {

enum class ExitCode : int {
  ok = 0,
  internal = 1,
  usage = 2,        // command line or configuration
  data = 3,         // corpus missing, corrupt, of another hash
  checkpoint = 4,   // corrupt or of another model
  io = 5,           // disk full, permissions
  numerical = 6,    // NaN, or a check that failed
  memory = 7,       // over the budget
  locked = 8,       // another process trains in this run folder
  interrupted = 75  // stopped by a signal, with a good checkpoint
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

template <ExitCode kCode>
class ErrorOf : public Error {
 public:
  explicit ErrorOf(const std::string& message) : Error(kCode, message) {}
  template <class A, class... Args>
  ErrorOf(fmt::format_string<A, Args...> format, A&& first, Args&&... rest)
      : Error(kCode, fmt::format(format, std::forward<A>(first), std::forward<Args>(rest)...)) {}
};

using ConfigError = ErrorOf<ExitCode::usage>;
using DataError = ErrorOf<ExitCode::data>;
using CheckpointError = ErrorOf<ExitCode::checkpoint>;
using IoError = ErrorOf<ExitCode::io>;
using NumericalError = ErrorOf<ExitCode::numerical>;
using MemoryError = ErrorOf<ExitCode::memory>;
using LockedError = ErrorOf<ExitCode::locked>;

// Tensors whose shapes don't fit an operation: a fault of the program, or of a model that was put together wrongly.
class ShapeError : public Error {
 public:
  explicit ShapeError(const std::string& message) : Error(ExitCode::internal, message) {}
};

// Throws a ShapeError with the formatted message unless `ok`.
template <class... Args>
void require(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]]
    throw ShapeError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace effllm
