// Files that survive a crash: whole files replaced at once, a lock on a folder, lines appended one write at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace effllm {

// An open file of the operating system, closed with the object.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileDescriptor() { close(); }
  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  int close();  // 0, or the errno of a late write error; the file is closed either way

 private:
  int number_ = -1;
};

// The whole content. IoError where the file cannot be read or holds more than `max_bytes`; of a regular file the size
// is checked before anything is allocated.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes);

// Replaces `path` by the pieces laid end to end: a reader, or a machine that lost power, finds the old content or the
// new one, never a mixture. IoError leaves the old content and no temporary file.
void write_file_atomic(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);
void write_file_atomic(const std::filesystem::path& path, std::string_view text);

// Makes `to` another name of the file `from`, at once; a copy where the file system has no links.
void replace_by_link(const std::filesystem::path& from, const std::filesystem::path& to);

// Removes what interrupted writes left behind: files `<prefix>*.tmp.<pid>` in `folder` whose process has ended. Call it
// with the folder's lock held, or with the names that only this process writes. Returns how many there were.
int64_t sweep_stale_temps(const std::filesystem::path& folder, std::string_view prefix = "");

// What a folder holds, in no order; interrupted calls are repeated. IoError where it can't be listed.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);

// Holds `<folder>/.lock` as long as it lives; the kernel frees the lock when the process dies, however it dies.
class FileLock {
 public:
  // LockedError, naming process and host of the holder, where another one has it.
  explicit FileLock(const std::filesystem::path& folder);
  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&&) noexcept = default;
  ~FileLock();

 private:
  FileDescriptor file_;
};

// LockedError as FileLock, and nothing is held or written. Goes through where there is no lock, or none that may be
// read.
void require_unlocked(const std::filesystem::path& folder);
// Whether somebody holds the folder's lock now. False where there is no lock, or none that may be read.
bool is_locked(const std::filesystem::path& folder);

// A text file that only grows.
class AppendFile {
 public:
  explicit AppendFile(const std::filesystem::path& path);  // created where missing
  // Adds `line` (which has no newline) and a newline by one write(2). After a line that was cut short, in this process
  // or an earlier one, a newline goes first, so that only that line is lost. IoError where it could not be written.
  void append(std::string_view line);
  void sync();  // on the disk when it returns

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  bool torn_ = false;  // the file's last byte is not a newline
};

}  // namespace effllm
