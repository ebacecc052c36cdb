#include "store/file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <optional>
#include <thread>

#include "base/error.h"
#include "store/temp_folder.h"

using namespace effllm;

namespace {

// As on a full disk: writes beyond `bytes` of a file come out short, then fail.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int) = SIG_DFL;
};

int64_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

// The id of a process that has ended.
pid_t dead_process() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  return pid;
}

}  // namespace

TEST_CASE("file: what was written is read, pieces end to end") {
  const TempFolder folder("file_pieces");
  const std::string a = "alpha", b, c(100'000, 'x');
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(a)), std::as_bytes(std::span(b)),
                                               std::as_bytes(std::span(c))};
  write_file_atomic(folder / "f", pieces);
  CHECK(read_file(folder / "f", 1 << 20) == a + c);
  write_file_atomic(folder / "f", "");
  CHECK(read_file(folder / "f", 0).empty());
  write_file_atomic(folder / "f", std::string_view("a\0b", 3));
  CHECK(read_file(folder / "f", 3).size() == 3);
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("file: a file over the limit, a folder and a missing file are refused") {
  const TempFolder folder("file_limit");
  spill(folder / "f", "12345");
  CHECK(read_file(folder / "f", 5) == "12345");
  CHECK(message_of<IoError>([&] { read_file(folder / "f", 4); }).find("at most 4") != std::string::npos);
  CHECK(message_of<IoError>([&] { read_file(folder / "none", 4); }).find("No such file") != std::string::npos);
  CHECK_THROWS_AS(read_file(folder.path, 1 << 20), IoError);
}

TEST_CASE("file: files whose size is not known beforehand are read whole, within the limit") {
  CHECK(read_file("/proc/self/status", 1 << 20).find("VmSize") != std::string::npos);
  CHECK_THROWS_AS(read_file("/dev/zero", 10'000), IoError);
}

TEST_CASE("file: permissions follow the umask") {
  const TempFolder folder("file_umask");
  const mode_t old = ::umask(027);
  write_file_atomic(folder / "f", "x");
  ::umask(old);
  struct stat info {};
  REQUIRE(::stat((folder / "f").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
}

TEST_CASE("file: a full disk leaves the old content and no temporary file") {
  const TempFolder folder("file_full");
  write_file_atomic(folder / "f", "old");
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = message_of<IoError>([&] { write_file_atomic(folder / "f", std::string(5000, 'n')); });
  }
  CHECK(message.find("File too large") != std::string::npos);
  CHECK(slurp(folder / "f") == "old");
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("file: a target that cannot be replaced leaves no temporary file") {
  const TempFolder folder("file_target");
  std::filesystem::create_directories(folder / "f" / "inside");
  CHECK_THROWS_AS(write_file_atomic(folder / "f", "x"), IoError);
  CHECK_THROWS_AS(write_file_atomic(folder / "none" / "f", "x"), IoError);
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("file: threads may replace one file, and it is always whole") {
  const TempFolder folder("file_threads");
  const std::string a(50'000, 'a'), b(70'000, 'b');
  write_file_atomic(folder / "f", a);
  {
    std::jthread one([&] {
      for (int i = 0; i < 20; ++i) write_file_atomic(folder / "f", a);
    });
    std::jthread two([&] {
      for (int i = 0; i < 20; ++i) write_file_atomic(folder / "f", b);
    });
    bool whole = true;
    for (int i = 0; i < 100; ++i) {
      const std::string now = read_file(folder / "f", 1 << 20);
      whole = whole && (now == a || now == b);
    }
    CHECK(whole);
  }
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("file: the sweep removes temporary files of dead processes only") {
  const TempFolder folder("file_sweep");
  const std::string dead = std::to_string(dead_process()), alive = std::to_string(::getppid());
  for (const std::string& name : {"a.tmp." + dead, "b.tmp." + std::to_string(::getpid()), "c.tmp." + alive,
                                  "d.tmp." + dead + "x", std::string("e.tmp."), "f.tmp.-" + dead, ".tmp." + dead,
                                  std::string("g.tmp.99999999999999999999"), std::string("ckpt")})
    spill(folder / name, "x");
  std::filesystem::create_directories(folder / ("h.tmp." + dead));
  CHECK(sweep_stale_temps(folder.path) == 2);
  CHECK_FALSE(std::filesystem::exists(folder / ("a.tmp." + dead)));
  CHECK_FALSE(std::filesystem::exists(folder / ("b.tmp." + std::to_string(::getpid()))));
  CHECK(std::filesystem::exists(folder / ("c.tmp." + alive)));
  CHECK(files_in(folder.path) == 8);
  CHECK_THROWS_AS(sweep_stale_temps(folder / "none"), IoError);
}

TEST_CASE("file: a leftover of an earlier process with our id is no obstacle") {
  const TempFolder folder("file_leftover");
  spill(folder / ("f.tmp." + std::to_string(::getpid())), "half");
  write_file_atomic(folder / "f", "new");
  CHECK(slurp(folder / "f") == "new");
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("file: a held lock names its holder, and is free again afterwards") {
  const TempFolder folder("file_lock");
  std::optional<FileLock> lock(folder.path);
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const std::string message = message_of<LockedError>([&] { FileLock second(folder.path); });
  CHECK(message.find(std::to_string(::getpid())) != std::string::npos);
  CHECK(message.find(host) != std::string::npos);
  FileLock moved = std::move(*lock);
  lock.reset();
  CHECK_THROWS_AS(FileLock second(folder.path), LockedError);
  { const FileLock released = std::move(moved); }
  CHECK_NOTHROW(FileLock third(folder.path));
  CHECK_THROWS_AS(FileLock none(folder / "none"), IoError);
}

TEST_CASE("file: the lock of a process that was killed is free") {
  const TempFolder folder("file_killed");
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const FileLock lock(folder.path);
    [[maybe_unused]] const auto n = ::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  CHECK(message_of<LockedError>([&] { FileLock l(folder.path); }).find(std::to_string(pid)) != std::string::npos);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  CHECK_NOTHROW(FileLock l(folder.path));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("file: lines are appended, after a torn one on a line of their own") {
  const TempFolder folder("file_append");
  {
    AppendFile file(folder / "f");
    file.append("one");
    file.append("");
    file.sync();
  }
  { AppendFile(folder / "f").append("two"); }
  CHECK(slurp(folder / "f") == "one\n\ntwo\n");
  spill(folder / "f", "one\ntw");
  AppendFile file(folder / "f");
  file.append("three");
  file.append("four");
  CHECK(slurp(folder / "f") == "one\ntw\nthree\nfour\n");
  CHECK_THROWS_AS(file.append("a\nb"), ShapeError);
  CHECK_THROWS_AS(AppendFile(folder / "none" / "f"), IoError);
}

TEST_CASE("file: a line that the disk cut short spoils no other") {
  const TempFolder folder("file_short");
  AppendFile file(folder / "f");
  file.append("one");
  std::string message;
  {
    const FileSizeLimit limit(6);
    message = message_of<IoError>([&] { file.append("two two two"); });
  }
  CHECK(message.find("append") != std::string::npos);
  CHECK(slurp(folder / "f") == "one\ntw");
  file.append("three");
  CHECK(slurp(folder / "f") == "one\ntw\nthree\n");
}
