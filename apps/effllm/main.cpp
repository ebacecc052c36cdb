// effllm: trains and evaluates small efficient language models on a CPU.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "base/out_of_memory.h"
#include "base/terminal.h"
#include "cli.h"

int main(int argc, char** argv) {
  using namespace effllm;
  // A standard stream that was closed must not become the next file that is opened. Results then fail to be written.
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) == -1) open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is a write error
  int code = 0;
  const auto fail = [&](ExitCode c, std::initializer_list<const char*> what) {
    const bool red = colours_wanted(STDERR_FILENO);
    const std::string_view text(*what.begin()), line = text.substr(0, text.find('\n'));
    if (line.find(": error: ") == line.npos)  // otherwise it says so behind its place
      for (const char* part : {red ? "\x1b[31m" : "", "error:", red ? "\x1b[0m" : "", " "}) print_stderr(part);
    for (const char* part : what) print_stderr(part);  // piece by piece: there may be no memory to put them together
    print_stderr("\n");
    code = static_cast<int>(c);
  };
  const auto out_of_memory = [&](const char* reason) {
    const Activity::Text* activity = Activity::failed();
    const bool known = activity != nullptr;
    fail(ExitCode::memory, {"out of memory", known ? " while " : "", known ? activity->what : "", " (", reason,
                            "): ", known ? activity->remedy : "give it less to do",
                            ", or raise the limit (`ulimit -v`, the container's)"});
  };
  try {
    code = static_cast<int>(app::run_command_line(argc, argv));
  } catch (const OutOfMemory& e) {
    out_of_memory(e.what());
  } catch (const Error& e) {
    fail(e.code(), {e.what()});
  } catch (const std::bad_alloc&) {
    out_of_memory("the system gives no more");
  } catch (const std::length_error&) {
    out_of_memory("a list longer than any memory");
  } catch (const std::system_error& e) {  // fmt's, too, where standard output takes no more in the middle of a table
    const bool memory =
        e.code() == std::errc::not_enough_memory || e.code() == std::errc::resource_unavailable_try_again;
    memory ? out_of_memory("the system gives no more threads or memory") : fail(ExitCode::io, {e.what()});
  } catch (const std::exception& e) {
    fail(ExitCode::internal, {e.what()});
  }
  // A full disk behind a redirection shows here at the latest.
  if (std::fflush(stdout) != 0 && code == 0) {
    print_stderr("error: the results could not be written to standard output\n");
    code = static_cast<int>(ExitCode::io);
  }
  return code;
}
