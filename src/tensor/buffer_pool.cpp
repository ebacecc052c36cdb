#include "tensor/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "base/out_of_memory.h"

namespace effllm {
namespace {

constexpr size_t kLine = 64, kHugePage = size_t{2} << 20, kChunk = size_t{32} << 20, kMostMeta = size_t{1} << 60;

// Whole huge pages where there is enough for one; what is never touched takes no memory.
std::byte* allocate(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  const size_t padded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, padded);
  if (!p) throw OutOfMemory("no memory for a buffer of {} bytes", bytes);
  if (bytes >= kHugePage) madvise(p, padded, MADV_HUGEPAGE);
  return static_cast<std::byte*>(p);
}

}  // namespace

#ifdef EFFLLM_POISON
bool BufferPool::poison = true;
constexpr bool kShareChunks = false;  // each buffer by itself, so that the address sanitizer sees where it ends
#else
bool BufferPool::poison = false;
constexpr bool kShareChunks = true;
#endif

// Buffers stand one after another in chunks of huge pages.
std::byte* BufferPool::carve(size_t bytes) {
  if (!kShareChunks) return allocate(bytes);
  const size_t size = (std::max<size_t>(bytes, 1) + kLine - 1) / kLine * kLine;
  if (size > chunk_left_) {
    const size_t fresh = std::max(size, kChunk);
    std::byte* p = allocate(fresh);
    if (fresh - size <= chunk_left_) return p;  // the old chunk has more to give
    chunk_ = p;
    chunk_left_ = fresh;
  }
  chunk_left_ -= size;
  return std::exchange(chunk_, chunk_ + size);
}

BufferPool& BufferPool::local() {
  // Never destroyed: tensors of static life may be released after the thread's own objects.
  static thread_local BufferPool* pool = [] {
    static std::mutex mutex;
    static auto* all = new std::vector<BufferPool*>;  // what threads that ended have left is no leak
    const std::lock_guard lock(mutex);
    return all->emplace_back(new BufferPool);
  }();
  return *pool;
}

Buffer* BufferPool::acquire(size_t bytes) {
  auto at = free_.lower_bound(bytes);
  while (lends_ && at != free_.end() && !at->second) ++at;
  Buffer* b = at != free_.end() && (lends_ || at->first == bytes) ? at->second : nullptr;
  if (b) {
    at->second = std::exchange(b->next, nullptr);
  } else {
    ++misses_;
    free_.try_emplace(bytes);
    auto made = std::make_unique<Buffer>();
    made->data = carve(bytes);
    made->bytes = bytes;
    b = made.release();
    reserved_ += bytes;
  }
  live_ += b->bytes;
  peak_ = std::max(peak_, live_);
  if (poison) std::memset(b->data, 0xFF, b->bytes);  // every float reads as NaN
  return b;
}

Buffer* BufferPool::acquire_meta(size_t bytes) {
  live_ += bytes;
  peak_ = std::max(peak_, live_);
  if (int64_t& free = meta_free_[bytes]; free > 0)
    --free;
  else {
    meta_reserved_ += (bytes + kLine - 1) / kLine * kLine;
    meta_made_.push_back(bytes);
  }
  if (meta_reserved_ > kMostMeta) throw MemoryError("{} bytes of buffers are more than any memory", meta_reserved_);
  return new Buffer{nullptr, bytes, 0, true};
}

void BufferPool::count_meta_table(const std::string& name, size_t bytes) {
  if (meta_tables_.insert(name).second) meta_reserved_ += bytes;
}

void BufferPool::forget_meta() {
  meta_free_.clear();
  meta_made_.clear();
  meta_tables_.clear();
  meta_reserved_ = 0;
}

void BufferPool::prepare(std::span<const size_t> sizes) {
  const size_t peak = peak_;
  std::vector<Buffer*> all;
  for (const size_t bytes : sizes) all.push_back(acquire(bytes));
  for (Buffer* b : all) release(b);
  peak_ = peak;
}

void BufferPool::release(Buffer* b) {
  live_ -= b->bytes;
  if (b->meta) {
    if (const auto kept = meta_free_.find(b->bytes); kept != meta_free_.end()) ++kept->second;
    delete b;
  } else {
    b->next = std::exchange(free_.find(b->bytes)->second, b);
  }
}

}  // namespace effllm
