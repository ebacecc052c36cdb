// Memory for tensors: one pool per thread, buffers of exact size, 64-byte aligned, kept for the next request of the
// same size and never given back to the system (first touch of fresh pages costs more than any kernel here). A step
// whose shapes repeat allocates nothing after the first one; one whose shapes vary lends larger buffers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace effllm {

struct Buffer {
  std::byte* data;  // null in meta mode: a buffer that is only counted
  size_t bytes;
  int refs = 0;
  bool meta = false;
  Buffer* next = nullptr;  // while it is free, the next free one of its size
};

class BufferPool {
 public:
  static BufferPool& local();  // the pool of this thread
  Buffer* acquire(size_t bytes);
  // In meta mode: only counted. `meta_reserved_bytes` is what a real pool would have taken from the system by now.
  Buffer* acquire_meta(size_t bytes);
  size_t meta_reserved_bytes() const { return meta_reserved_; }
  const std::vector<size_t>& meta_made() const { return meta_made_; }  // the buffers of it, in their order
  // In meta mode: a table beside the pool, counted once under its name.
  void count_meta_table(const std::string& name, size_t bytes);
  void forget_meta();
  void release(Buffer*);
  void prepare(std::span<const size_t> sizes);  // so many buffers are free together
  // While alive, where none of the size is free, the smallest larger one of this thread is handed out.
  class Lending {
   public:
    explicit Lending(bool lends = true) : before_(std::exchange(local().lends_, lends)) {}
    ~Lending() { local().lends_ = before_; }
    Lending(const Lending&) = delete;
    Lending& operator=(const Lending&) = delete;

   private:
    bool before_;
  };
  size_t misses() const { return misses_; }    // requests that had to allocate
  size_t live_bytes() const { return live_; }  // handed out now
  size_t peak_bytes() const { return peak_; }  // most ever handed out
  size_t reserved_bytes() const { return reserved_; }
  // Test builds fill buffers with NaN, so that a read before a write shows. Default: EFFLLM_POISON of the build.
  static bool poison;

 private:
  std::byte* carve(size_t bytes);
  std::byte* chunk_ = nullptr;
  size_t chunk_left_ = 0;
  std::map<size_t, Buffer*> free_;  // giving back must not allocate: destructors do it
  std::unordered_map<size_t, int64_t> meta_free_;
  std::vector<size_t> meta_made_;
  std::unordered_set<std::string> meta_tables_;
  size_t meta_reserved_ = 0;
  bool lends_ = false;
  size_t misses_ = 0, live_ = 0, peak_ = 0, reserved_ = 0;
};

}  // namespace effllm
