#include "store/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <limits>
#include <memory>
#include <mutex>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "base/version.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

// One atomic write or sweep at a time: a temporary file with our own process id is then a leftover for certain.
std::mutex temporary_files;

[[noreturn]] void throw_errno(std::string_view action, const fs::path& path, int error) {
  throw IoError("cannot {} {}: {}", action, printable(path.string()), std::system_category().message(error));
}

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

constexpr mode_t kMode = 0666;  // passes through the umask, so that files get the permissions of the user's others

FileDescriptor open_file(const fs::path& path, int flags, std::string_view action) {
  FileDescriptor file(retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, kMode); }));
  if (!file.is_open()) throw_errno(action, path, errno);
  return file;
}

// Returns how many bytes were written; fewer than asked means that errno says why.
size_t write_all(int number, std::span<const std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = retry([&] { return ::write(number, bytes.data() + done, bytes.size() - done); });
    if (n == 0) errno = ENOSPC;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

void sync_folder(const fs::path& folder) {
  FileDescriptor d = open_file(folder, O_RDONLY | O_DIRECTORY, "open the folder");
  // Some file systems have no fsync of folders and say EINVAL; nothing more can be done there.
  if (retry([&] { return ::fsync(d.number()); }) != 0 && errno != EINVAL) throw_errno("sync the folder", folder, errno);
}

std::string temporary_name(const fs::path& path) { return fmt::format("{}.tmp.{}", path.string(), ::getpid()); }

// The process id at the end of a name `*.tmp.<pid>`, or 0.
pid_t owner_of(const std::string& name) {
  const size_t at = name.rfind(".tmp.");
  if (at == std::string::npos || at == 0) return 0;
  pid_t pid = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + at + 5, end, pid);
  return error == std::errc() && stop == end && pid > 0 ? pid : 0;
}

}  // namespace

int FileDescriptor::close() {
  if (number_ < 0) return 0;
  const int result = ::close(std::exchange(number_, -1));
  return result == 0 || errno == EINTR ? 0 : errno;  // Linux has closed it even where it says EINTR
}

std::string read_file(const fs::path& path, int64_t max_bytes) {
  const FileDescriptor file = open_file(path, O_RDONLY, "open");
  const auto refuse = [&](std::string_view size) {
    throw IoError("{} has {} bytes; at most {} are read here", printable(path.string()), size, max_bytes);
  };
  struct stat info {};
  if (::fstat(file.number(), &info) != 0) throw_errno("examine", path, errno);
  const int64_t expected = S_ISREG(info.st_mode) ? info.st_size : 0;
  if (expected > max_bytes) refuse(fmt::to_string(expected));
  // One byte more than expected, so that the end shows without another round; pipes and /proc have size 0.
  std::string content(static_cast<size_t>(expected) + 1, '\0');
  size_t done = 0;
  for (;;) {
    if (done == content.size()) content.resize(2 * done + 4096);
    const ssize_t n = retry([&] { return ::read(file.number(), content.data() + done, content.size() - done); });
    if (n < 0) throw_errno("read", path, errno);
    if (n == 0) break;
    done += static_cast<size_t>(n);
    if (static_cast<int64_t>(done) > max_bytes) refuse("more");
  }
  content.resize(done);
  return content;
}

void write_file_atomic(const fs::path& path, std::span<const std::span<const std::byte>> pieces) {
  const std::lock_guard guard(temporary_files);
  const fs::path temporary = temporary_name(path);
  ::unlink(temporary.c_str());
  FileDescriptor file(retry([&] { return ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode); }));
  if (!file.is_open()) throw_errno("create", path, errno);  // the name that the user knows
  try {
    for (const auto& piece : pieces)
      if (write_all(file.number(), piece) != piece.size()) throw_errno("write", path, errno);
    if (retry([&] { return ::fsync(file.number()); }) != 0) throw_errno("sync", path, errno);
    if (const int error = file.close()) throw_errno("close", path, error);
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno("replace", path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(folder_of(path));
}

void write_file_atomic(const fs::path& path, std::string_view text) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  write_file_atomic(path, std::span(&piece, 1));
}

void replace_by_link(const fs::path& from, const fs::path& to) {
  {
    const std::lock_guard guard(temporary_files);
    const fs::path temporary = temporary_name(to);
    ::unlink(temporary.c_str());
    if (::link(from.c_str(), temporary.c_str()) == 0) {
      const int error = ::rename(temporary.c_str(), to.c_str()) == 0 ? 0 : errno;
      ::unlink(temporary.c_str());  // which rename leaves where both are the same file already
      if (error) throw_errno("replace", to, error);
      sync_folder(folder_of(to));
      return;
    }
  }
  write_file_atomic(to, read_file(from, std::numeric_limits<int64_t>::max()));
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  DIR* open = ::opendir(folder.c_str());
  while (!open && errno == EINTR) open = ::opendir(folder.c_str());
  if (!open) throw_errno("list", folder, errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> closing(open, ::closedir);
  std::vector<fs::path> all;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(open);
    if (!entry && errno == EINTR) continue;
    if (!entry && errno) throw_errno("list", folder, errno);
    if (!entry) return all;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") all.push_back(folder / name);
  }
}

int64_t sweep_stale_temps(const fs::path& folder, std::string_view prefix) {
  const std::lock_guard guard(temporary_files);
  int64_t swept = 0;
  for (const fs::path& path : list_folder(folder)) {
    std::error_code ignored;
    const std::string name = path.filename().string();
    const pid_t pid = owner_of(name);
    if (pid == 0 || !name.starts_with(prefix)) continue;
    if (fs::symlink_status(path, ignored).type() != fs::file_type::regular) continue;
    const bool alive = pid != ::getpid() && (::kill(pid, 0) == 0 || errno != ESRCH);
    if (!alive && ::unlink(path.c_str()) == 0) ++swept;
  }
  return swept;
}

namespace {

// 0, or the error of the system. is_locked() of others holds it for an instant.
int lock_patiently(int file, int operation) {
  int error = EWOULDBLOCK;
  for (int attempt = 0; attempt < 10 && error == EWOULDBLOCK; ++attempt) {
    if (attempt > 0) ::usleep(10'000);
    error = retry([&] { return ::flock(file, operation | LOCK_NB); }) == 0 ? 0 : errno;
  }
  return error;
}

[[noreturn]] void throw_locked(int file, const fs::path& folder) {
  char text[320];
  const ssize_t n = ::pread(file, text, sizeof text, 0);
  std::string_view holder(text, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  holder = holder.substr(0, holder.find('\n'));
  throw LockedError("{} is in use by {}; wait until it ends, or choose another folder", printable(folder.string()),
                    holder.empty() ? "another process" : printable(holder));
}

}  // namespace

FileLock::FileLock(const fs::path& folder) {
  const fs::path path = folder / ".lock";
  file_ = open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, "open the lock");
  const int error = lock_patiently(file_.number(), LOCK_EX);
  if (error == EWOULDBLOCK) throw_locked(file_.number(), folder);
  if (error != 0) throw_errno("lock", path, error);
  const std::string holder = fmt::format("process {} on {}\n", ::getpid(), host_name());
  if (::ftruncate(file_.number(), 0) != 0 ||
      write_all(file_.number(), std::as_bytes(std::span(holder))) != holder.size())
    throw_errno("write the lock", path, errno);
}

void require_unlocked(const fs::path& folder) {
  const FileDescriptor file(retry([&] { return ::open((folder / ".lock").c_str(), O_RDONLY | O_CLOEXEC); }));
  if (file.is_open() && lock_patiently(file.number(), LOCK_SH) == EWOULDBLOCK) throw_locked(file.number(), folder);
}

bool is_locked(const fs::path& folder) {
  const FileDescriptor file(retry([&] { return ::open((folder / ".lock").c_str(), O_RDONLY | O_CLOEXEC); }));
  return file.is_open() && retry([&] { return ::flock(file.number(), LOCK_SH | LOCK_NB); }) != 0 &&
         errno == EWOULDBLOCK;
}

// The file stays: to remove it would let two processes lock two files of one name.
FileLock::~FileLock() {
  if (file_.is_open()) [[maybe_unused]]
    const int ignored = ::ftruncate(file_.number(), 0);
}

AppendFile::AppendFile(const fs::path& path)
    : path_(path), file_(open_file(path, O_RDWR | O_APPEND | O_CREAT, "open for appending")) {
  struct stat info {};
  if (::fstat(file_.number(), &info) != 0) throw_errno("examine", path, errno);
  if (info.st_size == 0) {
    sync_folder(folder_of(path));
    return;
  }
  char last = 0;
  if (retry([&] { return ::pread(file_.number(), &last, 1, info.st_size - 1); }) < 0) throw_errno("read", path, errno);
  torn_ = last != '\n';
}

void AppendFile::append(std::string_view line) {
  require(line.find('\n') == std::string_view::npos, "AppendFile: a line with a newline inside");
  std::string bytes;
  bytes.reserve(line.size() + 2);
  if (torn_) bytes += '\n';
  bytes += line;
  bytes += '\n';
  const size_t done = write_all(file_.number(), std::as_bytes(std::span(bytes)));
  if (done > 0) torn_ = bytes[done - 1] != '\n';
  if (done < bytes.size()) throw_errno("append to", path_, errno);
}

void AppendFile::sync() {
  if (retry([&] { return ::fsync(file_.number()); }) != 0) throw_errno("sync", path_, errno);
}

}  // namespace effllm
