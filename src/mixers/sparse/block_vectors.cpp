#include "mixers/sparse/block_vectors.h"

#include <algorithm>

#include "cores/common/segments.h"
#include "nn/tail.h"
#include "ops/pointwise.h"
#include "ops/splice.h"

namespace effllm {

BlockVectors::Compressor::Compressor(const Scope& s, int64_t length, int64_t width, int64_t hidden)
    : position(&s.param("position", {length, width}, Init::zeros(), {.decay = false})),
      up(s / "up", length * width, hidden, Init::torch_linear(length * width), Role::hidden, true),
      down(s / "down", hidden, width, Init::torch_linear(hidden), Role::hidden, true) {
  up.bias->init = Init::torch_linear(length * width);
  down.bias->init = Init::torch_linear(hidden);
}

Tensor BlockVectors::Compressor::operator()(const Tensor& x, const TokenWindowsOptions& o, const WindowCache& cache,
                                            const Tensor& segments) const {
  return down(pointwise(Pointwise::gelu, up(token_windows(x, position->value, o, cache, segments))));
}

BlockVectors::BlockVectors(const Scope& s, const TokenWindowsOptions& windows, int64_t width, int64_t hidden)
    : windows_(windows),
      width_(width),
      compress_k_(s / "compress_k", windows.length, width, hidden),
      compress_v_(s / "compress_v", windows.length, width, hidden) {}

void BlockVectors::declare(Site& site) const {
  const auto summaries = [w = windows_](int64_t tokens) {
    return std::max<int64_t>(1, windows_of(tokens, w)) * w.groups;
  };
  for (const char* name : {"compressed_k", "compressed_v"}) site.per_token(name, {width_}, summaries);
  for (const char* name : {"raw_k", "raw_v"}) site.window(name, windows_.length - 1, {windows_.groups * width_});
}

Summaries BlockVectors::operator()(const Tensor& k, const Tensor& v, const Call& call, const Tensor& positions) const {
  const int64_t batch = k.dim(0), tokens = k.dim(1);
  const Tensor segments = call.segments();
  std::vector<Place> places(static_cast<size_t>(batch));
  TokenWindowsOptions o = windows_;
  const int64_t pending_at_most = call.has_state() ? call.read("raw_k").dim(1) : 0;
  o.rows = std::max<int64_t>(1, windows_of(pending_at_most + tokens, windows_));
  Summaries s;
  if (!call.has_state()) {
    s.k = compress_k_(k, o, {}, segments);
    s.v = compress_v_(v, o, {}, segments);
    s.ranges = ranges_of(places, tokens, segments, positions);
    return s;
  }
  const Tensor seen = call.seen(), before = Tensor::dense({batch}, DType::i64);
  Counts pending(places.size(), 0), left(places.size(), 0);
  const DocumentStarts starts(segments);
  int64_t most = 0, fresh = 0;  // block vectors that are there, and that come in
  for (size_t b = 0; !MetaMode::on() && b < places.size(); ++b) {
    Place& p = places[b];
    p.seen = seen.data<int64_t>()[b];
    p.done = windows_of(p.seen, windows_);
    p.pending = pending[b] = before.data<int64_t>()[b] = p.seen - p.done * windows_.stride;
    most = std::max(most, p.done);
    fresh = std::max(fresh, windows_of(p.seen + tokens, windows_) - p.done);
    const uint8_t* starting = starts.row(static_cast<int64_t>(b));
    const int64_t begin = document_begin(starting, tokens - 1);
    if (begin > 0 || !continues(starting)) p.begin = begin;
    const int64_t after = p.running(tokens);
    left[b] = after - windows_of(after, windows_) * windows_.stride;
  }
  s.ranges = ranges_of(places, tokens, segments, positions);
  const bool in_place = !Tape::recording() && !segments.defined();
  if (in_place && !MetaMode::on()) o.rows = fresh;
  for (const bool values : {false, true}) {
    const std::string_view complete = values ? "compressed_v" : "compressed_k", raw = values ? "raw_v" : "raw_k";
    const Tensor& x = values ? v : k;
    Tensor& all = values ? s.v : s.k;
    Tensor made;
    if (o.rows > 0) made = (values ? compress_v_ : compress_k_)(x, o, {call.read(raw), before}, segments);
    if (in_place) {
      all = write(made, call.grow(complete), places, tokens);
      call.write(complete, all);
    } else {
      const Joined joined = join(made, call.read(complete), places, most, tokens);
      all = joined.all;
      call.write(complete, joined.running);
    }
    call.write(raw, keep_tail(call.own(raw), x, pending, left));
  }
  return s;
}

Tensor BlockVectors::write(const Tensor& made, const Tensor& field, const std::vector<Place>& places,
                           int64_t tokens) const {
  const int64_t rows = field.dim(1);
  for (size_t b = 0; made.defined() && !MetaMode::on() && b < places.size(); ++b) {
    const int64_t row = static_cast<int64_t>(b), done = places[b].done * windows_.groups,
                  n = windows_of(places[b].seen + tokens, windows_) * windows_.groups - done;
    if (n == 0) continue;
    require(done + n <= rows, "nsa: {} block vectors don't fit a state with room for {}", done + n, rows);
    copy(made.row_range(row * made.dim(1), {n, width_}), field.row_range(row * rows + done, {n, width_}));
  }
  return field.untracked();
}

BlockVectors::Joined BlockVectors::join(const Tensor& made, const Tensor& field, const std::vector<Place>& places,
                                        int64_t most, int64_t tokens) const {
  const int64_t batch = field.dim(0), rows = field.dim(1), g = windows_.groups;
  const int64_t all = (MetaMode::on() ? rows : most * g) + made.dim(1);
  const Tensor joint = Tensor::dense({batch, all}, DType::i64), after = Tensor::dense({batch, rows}, DType::i64);
  for (size_t b = 0; !MetaMode::on() && b < places.size(); ++b) {
    const Place& p = places[b];
    const auto source = [&](int64_t row) { return row < p.done * g ? row : rows + row - p.done * g; };
    int64_t* j = joint.data<int64_t>() + static_cast<int64_t>(b) * all;
    for (int64_t row = 0; row < all; ++row) j[row] = row < p.done * g + made.dim(1) ? source(row) : -1;
    const int64_t keep = windows_of(p.running(tokens), windows_) * g;
    const int64_t first = p.begin < 0 ? 0 : (p.done + (p.pending + p.begin) / windows_.stride) * g;
    require(keep <= rows, "nsa: {} block vectors don't fit a state with room for {}", keep, rows);
    int64_t* a = after.data<int64_t>() + static_cast<int64_t>(b) * rows;
    for (int64_t row = 0; row < rows; ++row) a[row] = row < keep ? source(first + row) : -1;
  }
  return {.all = splice_rows(field, made, joint), .running = splice_rows(field, made, after)};
}

SummaryRanges BlockVectors::ranges_of(const std::vector<Place>& places, int64_t tokens, const Tensor& segments,
                                      const Tensor& positions) const {
  const Shape shape{static_cast<int64_t>(places.size()), tokens};
  const SummaryRanges r{Tensor::dense(shape, DType::i64), Tensor::dense(shape, DType::i64), positions};
  if (MetaMode::on()) return r;
  const DocumentStarts starts(segments);
  for (int64_t b = 0; b < shape[0]; ++b) {
    const Place& p = places[static_cast<size_t>(b)];
    int64_t first = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      if (const uint8_t* s = starts.row(b); s && s[t]) first = p.done + (p.pending + t) / windows_.stride;
      r.first.data<int64_t>()[b * tokens + t] = first;
      r.last.data<int64_t>()[b * tokens + t] =
          first + windows_of(positions.data<int64_t>()[b * tokens + t] + 1, windows_);
    }
  }
  return r;
}

}  // namespace effllm
