#include "eval/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <memory>

#include "base/error.h"

namespace effllm {
namespace {

using Writer = std::unique_ptr<archive, decltype(&archive_write_free)>;

la_ssize_t count(archive*, void* total, const void*, size_t n) {
  *static_cast<int64_t*>(total) += static_cast<int64_t>(n);
  return static_cast<la_ssize_t>(n);
}

// ARCHIVE_OK is 0, ARCHIVE_WARN and worse are below.
void check(const Writer& writer, la_ssize_t result) {
  if (result >= ARCHIVE_OK) return;
  if (archive_errno(writer.get()) == ENOMEM) throw MemoryError("not enough memory");
  const char* said = archive_error_string(writer.get());
  throw DataError("libarchive: {}", said ? said : "no reason given");
}

Writer make_writer() {
  Writer writer(archive_write_new(), archive_write_free);
  if (!writer) throw MemoryError("not enough memory");
  return writer;
}

int64_t written(Writer writer, std::string_view text) {
  archive* const a = writer.get();
  check(writer, archive_write_set_bytes_per_block(a, 0));  // otherwise the last block is padded
  int64_t total = 0;
  check(writer, archive_write_open(a, &total, nullptr, count, nullptr));
  const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(), archive_entry_free);
  archive_entry_set_pathname(entry.get(), "text");
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(text.size()));
  check(writer, archive_write_header(a, entry.get()));
  while (!text.empty()) {
    const la_ssize_t n = archive_write_data(a, text.data(), text.size());
    check(writer, n);
    if (n == 0) throw DataError("libarchive took {} bytes less than there are", text.size());
    text.remove_prefix(static_cast<size_t>(n));
  }
  check(writer, archive_write_finish_entry(a));
  check(writer, archive_write_close(a));
  return total;
}

}  // namespace

int64_t filtered_bytes(const std::string& filter, std::string_view text) {
  Writer writer = make_writer();
  check(writer, archive_write_set_format_raw(writer.get()));
  check(writer, archive_write_add_filter_by_name(writer.get(), filter.c_str()));
  check(writer, archive_write_set_filter_option(writer.get(), filter.c_str(), "compression-level", "9"));
  return written(std::move(writer), text);
}

int64_t ppmd_bytes(std::string_view text) {
  Writer writer = make_writer();
  check(writer, archive_write_set_format_7zip(writer.get()));
  check(writer, archive_write_set_format_option(writer.get(), "7zip", "compression", "ppmd"));
  return written(std::move(writer), text);
}

}  // namespace effllm
