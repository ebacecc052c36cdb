// The keys and values that attention remembers: all of them, or sinks and a window, in the order of their tokens.
#pragma once
#include "nn/context.h"
#include "recurrence/attention.h"

namespace effllm {

// Keys and values of a call with those before it, and where its queries stand among them.
struct CachedKeys {
  Tensor k, v;  // [B, S, C]
  AttentionPlaces places;
};

class KvCache {
 public:
  // window 0: every token is kept. Otherwise the first `sinks` of the document and the last window - 1. value_width 0:
  // there are keys alone.
  KvCache(int64_t window, int64_t sinks, int64_t key_width, int64_t value_width)
      : window_(window), sinks_(sinks), key_width_(key_width), value_width_(value_width) {}

  // The same with another window and its sinks.
  KvCache within(int64_t window, int64_t sinks) const { return {window, sinks, key_width_, value_width_}; }
  StateSpec spec(int64_t tokens) const;  // fields "k" and, where it has a width, "v"
  // Puts the new keys and values [B, T, C] behind those of the state (before it counts them) and moves the state on.
  // Without a tape and a window the state's memory is written in place, and handed out with its unused rows unless
  // `compact`. ShapeError beyond the state's capacity. first_field: the place of "k" in the state, "v" follows it.
  CachedKeys extend(const Tensor& k, const Tensor& v, MixerState& state, const Tensor* segments, bool compact = false,
                    size_t first_field = 0) const;

 private:
  int64_t kept(int64_t seen) const;  // rows in use after `seen` tokens
  int64_t window_, sinks_, key_width_, value_width_;
};

}  // namespace effllm
