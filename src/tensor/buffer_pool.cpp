#include "tensor/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "base/error.h"

namespace effllm {
namespace {

constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;

std::byte* allocate(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  const size_t padded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, padded);
  if (!p) throw MemoryError("no memory for a buffer of {} bytes", bytes);
  if (bytes >= kHugePage) madvise(p, padded, MADV_HUGEPAGE);
  return static_cast<std::byte*>(p);
}

}  // namespace

#ifdef EFFLLM_POISON
bool BufferPool::poison = true;
#else
bool BufferPool::poison = false;
#endif

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
  auto& free = free_[bytes];
  Buffer* b;
  if (free.empty()) {
    ++misses_;
    b = new Buffer{allocate(bytes), bytes};
    reserved_ += bytes;
  } else {
    b = free.back();
    free.pop_back();
  }
  live_ += bytes;
  peak_ = std::max(peak_, live_);
  if (poison) std::memset(b->data, 0xFF, bytes);  // every float reads as NaN
  return b;
}

Buffer* BufferPool::acquire_meta(size_t bytes) {
  live_ += bytes;
  peak_ = std::max(peak_, live_);
  return new Buffer{nullptr, bytes, 0, true};
}

void BufferPool::release(Buffer* b) {
  live_ -= b->bytes;
  if (b->meta)
    delete b;
  else
    free_[b->bytes].push_back(b);
}

}  // namespace effllm
