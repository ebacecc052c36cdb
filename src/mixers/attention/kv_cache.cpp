#include "mixers/attention/kv_cache.h"

#include <algorithm>

#include "autodiff/tape.h"
#include "cores/common/segments.h"
#include "ops/splice.h"

namespace effllm {
namespace {

Tensor written_in_place(const Tensor& from, const Tensor& field, const Tensor& seen) {
  const int64_t tokens = from.dim(1), capacity = field.dim(1);
  for (int64_t b = 0; b < from.dim(0); ++b)
    copy(from.row_range(b * tokens, {tokens, from.cols()}),
         field.row_range(b * capacity + seen.data<int64_t>()[b], {tokens, from.cols()}));
  return field.untracked();
}

}  // namespace

void follow_direction(std::string_view mixer, const Call& call, AttentionOptions& options, AttentionPlaces& places) {
  const Pass& pass = call.pass();
  options.causal = pass.direction == Direction::causal && pass.block == 0;
  options.block = pass.block;
  options.noisy = pass.noisy;
  places.prefix = options.causal ? call.tokens().prefix : Tensor();
  if (!call.has_state()) return;
  require(pass.direction == Direction::causal && !pass.noisy, "{}: only the causal form can continue from a state",
          mixer);
  if (pass.block == 0 || MetaMode::on()) return;
  require(!call.segments().defined(), "{}: blocks of a state's tokens are of one document", mixer);
  const Tensor seen = call.seen();
  for (int64_t b = 0; b < seen.numel(); ++b)
    require(seen.data<int64_t>()[b] % pass.block == 0, "{}: a state of {} tokens ends inside a block of {}", mixer,
            seen.data<int64_t>()[b], pass.block);
}

Tensor ranges_of(const LentKeys& lent, AttentionOptions& options) {
  const int64_t batch = lent.at.dim(0), tokens = lent.tokens, borrowing = lent.at.dim(1), keys = lent.k.dim(1);
  const AttentionOptions asked = options;
  options.causal = false;
  options.window = 0;
  options.in_range = attention_pairs(tokens, keys, asked) / static_cast<double>(tokens);
  const Tensor ranges = Tensor::dense({batch, borrowing, 2}, DType::i64);
  if (ranges.is_meta()) return ranges;
  std::vector<int64_t> first(static_cast<size_t>(tokens)), last(first);
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t start = lent.q_offset.defined() ? lent.q_offset.data<int64_t>()[b] : keys - tokens;
    document_keys(lent.segments.defined() ? lent.segments.view<int64_t>().row(b) : nullptr, tokens, start, false,
                  first.data(), last.data());
    for (int64_t i = 0; i < borrowing; ++i) {
      const auto token = static_cast<size_t>(lent.at.view<int64_t>().row(b)[i]);
      const int64_t own = start + static_cast<int64_t>(token);
      int64_t* range = ranges.view<int64_t>().row(b * borrowing + i);
      range[0] = asked.window ? std::max(first[token], own - asked.window + 1) : first[token];
      range[1] = asked.causal ? own + 1 : asked.window ? std::min(last[token], own + asked.window) : last[token];
    }
  }
  return ranges;
}

int64_t KvCache::kept(int64_t seen) const { return window_ ? std::min(seen, sinks_ + window_ - 1) : seen; }

void KvCache::declare(Site& site) const {
  const auto add = [&](std::string_view name, int64_t width) {
    if (window_)
      site.window(name, sinks_ + window_ - 1, {width});
    else
      site.per_token(name, {width});
  };
  add(keys_, key_width_);
  if (value_width_) add(values_, value_width_);
}

CachedKeys KvCache::extend(const Tensor& k, const Tensor& v, const Call& call, bool compact) const {
  const Tensor segments = call.segments(), before = call.seen();
  const int64_t batch = k.dim(0), tokens = k.dim(1), capacity = call.read(keys_).dim(1);
  const auto spliced = [&](std::string_view field, const Tensor& fresh, const Tensor& index) {
    return splice_rows(call.read(field), fresh, index);
  };
  CachedKeys out;
  out.places.q_offset = Tensor::dense({batch}, DType::i64);
  out.places.gap = Tensor::dense({batch}, DType::i64);
  out.places.segments = segments;
  if (MetaMode::on()) {  // as if the cache were full
    const Tensor index = Tensor::dense({batch, capacity + (window_ ? tokens : 0)}, DType::i64);
    out.k = spliced(keys_, k, index);
    if (value_width_) out.v = spliced(values_, v, index);
    if (window_) {
      const Tensor after = Tensor::dense({batch, capacity}, DType::i64);
      call.write(keys_, spliced(keys_, k, after));
      if (value_width_) call.write(values_, spliced(values_, v, after));
    }
    return out;
  }
  int64_t longest = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t seen = before.data<int64_t>()[b], cached = kept(seen);
    out.places.q_offset.data<int64_t>()[b] = cached;
    out.places.gap.data<int64_t>()[b] = seen - cached;
    longest = std::max(longest, cached);
    const int64_t keeps = kept(seen + tokens);
    require(keeps <= capacity, "attention: {} tokens don't fit a state with room for {}", keeps, capacity);
  }
  if (!window_ && !Tape::recording() && !segments.defined() && !compact) {
    const auto moved_on = [&](std::string_view field, const Tensor& fresh) {
      const Tensor all = written_in_place(fresh, call.grow(field), before);
      call.write(field, all);
      return all;
    };
    out.k = moved_on(keys_, k);
    if (value_width_) out.v = moved_on(values_, v);
    return out;
  }

  // Rows in the order of tokens: what was cached, then what is new. While nothing records, with room for a full cache,
  // so that the pool does not keep a buffer of every length that a cache grows through.
  const int64_t rows_out = (Tape::recording() || compact || !window_ ? longest : capacity) + tokens;
  const Tensor joint = Tensor::dense({batch, rows_out}, DType::i64),
               after = Tensor::dense({batch, capacity}, DType::i64);
  const DocumentStarts starts(segments);
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t cached = out.places.q_offset.data<int64_t>()[b];
    const auto source = [&](int64_t row) { return row < cached ? row : capacity + row - cached; };
    int64_t* j = joint.data<int64_t>() + b * rows_out;
    for (int64_t row = 0; row < rows_out; ++row) j[row] = row < cached + tokens ? source(row) : -1;
    // The state keeps the running document only: its sinks, then its last tokens.
    const uint8_t* s = starts.row(b);
    int64_t begin = tokens;
    while (begin > 0 && !(s && s[begin - 1])) --begin;
    const int64_t first = begin > 0 ? cached + begin - 1 : 0;
    const int64_t gap = begin > 0 ? 0 : out.places.gap.data<int64_t>()[b];
    const int64_t rows = cached + tokens - first, keep = kept(rows + gap);
    require(keep <= capacity, "attention: {} tokens don't fit a state with room for {}", keep, capacity);
    int64_t* a = after.data<int64_t>() + b * capacity;
    for (int64_t row = 0; row < capacity; ++row) {
      const bool sink = row < sinks_ || !window_ || rows + gap <= keep;
      a[row] = row >= keep ? -1 : source(first + (sink ? row : rows - keep + row));
    }
  }
  out.k = spliced(keys_, k, joint);
  call.write(keys_, spliced(keys_, k, after));
  if (!value_width_) return out;
  out.v = spliced(values_, v, joint);
  call.write(values_, spliced(values_, v, after));
  return out;
}

}  // namespace effllm
