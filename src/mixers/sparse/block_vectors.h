// Summaries of overlapping blocks of tokens, the keys and values of NSA's first branch, and how they are remembered.
#pragma once
#include "cores/attention/compressed_attention.h"
#include "cores/attention/token_windows.h"
#include "nn/call.h"
#include "nn/linear.h"

namespace effllm {

// Block vectors that are complete after a call, and which of them each token sees.
struct Summaries {
  Tensor k, v;  // [B, N*G, width]
  SummaryRanges ranges;
};

class BlockVectors {
 public:
  // Parameters compress_k.* and compress_v.*: position [length, width], up and down, dense layers with biases.
  BlockVectors(const Scope& s, const TokenWindowsOptions& windows, int64_t width, int64_t hidden);

  void declare(Site& site) const;  // compressed_k, compressed_v, raw_k, raw_v
  // k, v: [B, T, G*width]. Goes on from the call's fields of declare(), and moves them on.
  Summaries operator()(const Tensor& k, const Tensor& v, const Call& call, const Tensor& positions) const;

 private:
  // Windows of tokens to one vector each: W_2 gelu(W_1 (tokens + position) + b_1) + b_2.
  struct Compressor {
    Compressor(const Scope& s, int64_t length, int64_t width, int64_t hidden);
    Tensor operator()(const Tensor& x, const TokenWindowsOptions& o, const WindowCache& cache,
                      const Tensor& segments) const;
    Parameter* position;
    Linear up, down;
  };
  // Where the running document of one sequence stands before a call, and where its block vectors lie.
  struct Place {
    int64_t seen = 0, done = 0, pending = 0;  // tokens; complete block vectors; tokens that the next ones need
    int64_t begin = -1;  // token of the call that starts the document that runs on after it; -1: it began before
    int64_t running(int64_t tokens) const { return begin < 0 ? seen + tokens : tokens - begin; }
  };
  Tensor write(const Tensor& made, const Tensor& field, const std::vector<Place>& places, int64_t tokens) const;
  // The state's block vectors and the new ones behind them; those of the running document, for the state.
  struct Joined {
    Tensor all, running;
  };
  Joined join(const Tensor& made, const Tensor& field, const std::vector<Place>& places, int64_t most,
              int64_t tokens) const;
  SummaryRanges ranges_of(const std::vector<Place>& places, int64_t tokens, const Tensor& segments,
                          const Tensor& positions) const;

  TokenWindowsOptions windows_;
  int64_t width_;
  Compressor compress_k_, compress_v_;
};

}  // namespace effllm
