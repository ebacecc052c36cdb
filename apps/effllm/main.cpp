// effllm: trains and evaluates small efficient language models on a CPU.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>

#include "base/terminal.h"
#include "cli.h"

int main(int argc, char** argv) {
  using namespace effllm;
  // A standard stream that was closed must not become the next file that is opened. Results then fail to be written.
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) == -1) open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is a write error
  int code = 0;
  const auto fail = [&](ExitCode c, const char* what) {
    const bool red = colours_wanted(STDERR_FILENO);
    for (const char* part : {red ? "\x1b[31m" : "", "error:", red ? "\x1b[0m" : "", " ", what, "\n"})
      print_stderr(part);  // piece by piece: there may be no memory to put them together
    code = static_cast<int>(c);
  };
  constexpr const char* kNoMemory =
      "out of memory: lower train.context, train.batch or model.d_model, or raise the limit";
  constexpr const char* kNoThread =
      "the system gives no more threads or memory: raise the limit, or take fewer --threads";
  try {
    code = static_cast<int>(app::run_command_line(argc, argv));
  } catch (const Error& e) {
    fail(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    fail(ExitCode::memory, kNoMemory);
  } catch (const std::length_error&) {  // a container of more than any memory
    fail(ExitCode::memory, kNoMemory);
  } catch (const std::system_error& e) {  // fmt's, too, where standard output takes no more in the middle of a table
    const bool memory =
        e.code() == std::errc::not_enough_memory || e.code() == std::errc::resource_unavailable_try_again;
    fail(memory ? ExitCode::memory : ExitCode::io, memory ? kNoThread : e.what());
  } catch (const std::exception& e) {
    fail(ExitCode::internal, e.what());
  }
  // A full disk behind a redirection shows here at the latest.
  if (std::fflush(stdout) != 0 && code == 0) {
    print_stderr("error: the results could not be written to standard output\n");
    code = static_cast<int>(ExitCode::io);
  }
  return code;
}
