#include "eval/compress.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace effllm {
namespace {

constexpr int kGzipWindowBits = 15 + 16;  // the largest window; + 16: gzip's header and trailer instead of zlib's
constexpr int kMemoryLevel = 8;           // zlib's and gzip's default
constexpr size_t kInputPiece = size_t{1} << 30;  // avail_in has 32 bits

class Deflate {
 public:
  Deflate() {
    if (deflateInit2(&stream_, 9, Z_DEFLATED, kGzipWindowBits, kMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK)
      throw MemoryError("zlib can't start: no memory for its window");
  }
  ~Deflate() { deflateEnd(&stream_); }
  Deflate(const Deflate&) = delete;
  Deflate& operator=(const Deflate&) = delete;

  // Takes all of `piece` in and returns how many bytes came out.
  int64_t take(std::string_view piece, bool last) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));  // zlib doesn't write to it
    stream_.avail_in = static_cast<uInt>(piece.size());
    int64_t written = 0;
    do {
      stream_.next_out = out_.data();
      stream_.avail_out = static_cast<uInt>(out_.size());
      if (deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
        throw Error(ExitCode::internal, "zlib refused its own stream");
      written += static_cast<int64_t>(out_.size() - stream_.avail_out);
    } while (stream_.avail_out == 0);
    return written;
  }

 private:
  z_stream stream_{};
  std::array<Bytef, 1 << 16> out_;
};

}  // namespace

int64_t gzip_bytes(std::string_view text) {
  Deflate deflate;
  int64_t written = 0;
  do {
    const size_t n = std::min(text.size(), kInputPiece);
    written += deflate.take(text.substr(0, n), n == text.size());
    text.remove_prefix(n);
  } while (!text.empty());
  return written;
}

}  // namespace effllm
