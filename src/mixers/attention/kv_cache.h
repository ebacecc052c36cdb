// The keys and values that attention remembers: all of them, or sinks and a window, in the order of their tokens.
#pragma once
#include "cores/attention/attention.h"
#include "nn/call.h"

namespace effllm {

// Keys and values of a call with those before it, and where its queries stand among them.
struct CachedKeys {
  Tensor k, v;  // [B, S, C]
  AttentionPlaces places;
};

// Says whom the tokens of a call see, beside a window: those before them, all, a prefix, blocks. A state is continued
// from where tokens see those before them, or whole blocks: an Error elsewhere, by the mixer's name.
void follow_direction(std::string_view mixer, const Call& call, AttentionOptions& options, AttentionPlaces& places);

// The keys that those of a borrower's tokens see: in their documents, before them unless options.causal is false, in
// the window. i64 [B, n, 2]. Leaves in the options what the ranges don't say (AttentionPlaces::ranges).
Tensor ranges_of(const LentKeys& lent, AttentionOptions& options);

class KvCache {
 public:
  // window 0: every token is kept. Otherwise the first `sinks` of the document and the last window - 1. value_width 0:
  // there are keys alone. `keys`, `values`: names of fields, literals.
  KvCache(int64_t window, int64_t sinks, int64_t key_width, int64_t value_width, std::string_view keys = "k",
          std::string_view values = "v")
      : window_(window),
        sinks_(sinks),
        key_width_(key_width),
        value_width_(value_width),
        keys_(keys),
        values_(values) {}

  // The same with another window and its sinks.
  KvCache within(int64_t window, int64_t sinks) const {
    return {window, sinks, key_width_, value_width_, keys_, values_};
  }
  void declare(Site& site) const;  // the keys' field and, where they have a width, the values'
  // Puts the new keys and values [B, T, C] behind those of the call's state (before it counts them) and moves it on.
  // Without a tape and a window the state's memory is written in place, and handed out with its unused rows unless
  // `compact`. ShapeError beyond the state's capacity.
  CachedKeys extend(const Tensor& k, const Tensor& v, const Call& call, bool compact = false) const;

 private:
  int64_t kept(int64_t seen) const;  // rows in use after `seen` tokens
  int64_t window_, sinks_, key_width_, value_width_;
  std::string_view keys_, values_;
};

}  // namespace effllm
