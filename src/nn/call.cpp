#include "nn/call.h"

#include <fmt/format.h>

#include "autodiff/tape.h"
#include "base/error.h"

namespace effllm {
namespace {

// Counts `tokens` more tokens, i64 [B]; a document start begins at 0 again.
void count(const Tensor& seen, int64_t tokens, const Tensor& segments) {
  if (MetaMode::on()) return;
  int64_t* counts = seen.data<int64_t>();
  for (int64_t b = 0; b < seen.numel(); ++b) {
    counts[b] += tokens;
    if (!segments.defined()) continue;
    const int64_t* s = segments.view<int64_t>().row(b);
    for (int64_t t = tokens; t-- > 0;)
      if (s[t] != (t ? s[t - 1] : 0)) {
        counts[b] = tokens - t;
        break;
      }
  }
}

}  // namespace

Memory Memory::pick(const Sequences& picked) const {
  const auto taken = [&](const Tensor& t) { return t.defined() ? take_sequences(t, picked) : Tensor(); };
  return {taken(rows), taken(lengths)};
}

LentKeys LentKeys::pick(const Sequences& picked) const {
  const auto taken = [&](const Tensor& t) { return t.defined() ? take_sequences(t, picked) : Tensor(); };
  return {taken(k), taken(v), taken(q_offset), taken(segments), tokens, taken(at)};
}

Tokens Tokens::pick(const Sequences& picked) const {
  const auto taken = [&](const Tensor& t) { return t.defined() ? take_sequences(t, picked) : Tensor(); };
  std::vector<int64_t> numbers, rows;
  for (const int64_t b : picked) {
    numbers.push_back(samples[b]);
    rows.push_back(sequences.empty() ? b : sequences[static_cast<size_t>(b)]);
  }
  Tokens some{taken(segments),
              taken(positions),
              taken(prefix),
              taken(ids),
              Samples(std::move(numbers)),
              std::move(rows),
              share};
  some.memory = memory.pick(picked);
  if (lent) some.lent = std::make_shared<LentKeys>(lent->pick(picked));
  return some;
}

Tensor Call::read(const Site& site, std::string_view field) const {
  const Tensor& all = pass_->state->field(site, field);
  return tokens_->sequences.empty() ? all : take_sequences(all, tokens_->sequences);
}

void Call::write(const Site& site, std::string_view field, const Tensor& value) const {
  Tensor& all = pass_->state->field(site, field);
  all = tokens_->sequences.empty() ? value : put_sequences(all, tokens_->sequences, value);
}

Tensor Call::read(std::string_view field) const {
  if (pass_->state) return read(*site_, field);
  if (!site_->forgets()) (*site_)(field);
  return {};
}

void Call::write(std::string_view field, const Tensor& value) const {
  if (pass_->state)
    write(*site_, field, value);
  else if (!site_->forgets())
    (*site_)(field);
}

Tensor Call::own(std::string_view field) const {
  if (Tape::recording() || !pass_->state || !tokens_->sequences.empty()) return read(field);
  Tensor& all = pass_->state->field(*site_, field);
  if (!all.unique()) all = all.clone();
  return all;
}

Tensor Call::grow(std::string_view field) const {
  if (pass_->state && pass_->state->marks() > 0 && tokens_->sequences.empty() && pass_->state->alone(*site_, field))
    return read(field);
  return own(field);
}

Tensor Call::seen() const { return pass_->state ? read(site_->counter(), "seen") : Tensor(); }

Tensor Call::seen_after(int64_t tokens) const {
  if (!pass_->state) return {};
  const Tensor after = seen().clone();
  count(after, tokens, tokens_->segments);
  return after;
}

void Call::advance(int64_t tokens) const {
  if (!pass_->state || !site_->counts_tokens()) return;
  const Tensor seen = own("seen");
  const Tensor counts = Tape::recording() ? seen.clone() : seen;
  count(counts, tokens, tokens_->segments);
  write("seen", counts);
}

const Tensor& Call::ids() const {
  require(tokens_->ids.defined(), "`{}` reads which tokens it is given, and the run has not said (Tokens::ids)",
          site_->path());
  return tokens_->ids;
}

Tensor Call::positions(const Tensor& x) const { return tokens_->positions.defined() ? tokens_->positions : counted(x); }

Tensor Call::counted(const Tensor& x) const {
  const int64_t batch = x.dim(0), tokens = x.dim(1);
  Tensor p = Tensor::dense({batch, tokens}, DType::i64);
  if (p.is_meta()) return p;
  const auto v = p.view<int64_t>();
  const Tensor before = seen();
  for (int64_t b = 0; b < batch; ++b) {
    int64_t next = before.defined() ? before.data<int64_t>()[b] : 0, document = 0;
    const int64_t* s = segments().defined() ? segments().view<int64_t>().row(b) : nullptr;
    for (int64_t t = 0; t < tokens; ++t) {
      if (s && s[t] != document) next = 0, document = s[t];
      v.row(b)[t] = next++;
    }
  }
  return p;
}

Tensor Call::tap(std::string_view name, const Tensor& value) const {
  if (!pass_->taps || !*pass_->taps) return value;
  const std::string place = fmt::format("{}.{}", site_->path(), name);
  Tensor replaced = (*pass_->taps)(place, value);
  require(replaced.shape() == value.shape(), "the tap of {} put {} in the place of {}", place, replaced.shape().str(),
          value.shape().str());
  return replaced;
}

void Call::tap_choice(const Tensor& selected, const Tensor& margin) const {
  if (!pass_->taps || !*pass_->taps) return;
  tap("selected", selected);
  tap("margin", margin);
}

void Call::give(std::string_view name, const Tensor& value) const {
  const SharedValue* const given = site_->gives(name);
  require(given && value.cols() == given->width, "`{}` gives no `{}` of {}; name it in declare()", site_->path(), name,
          value.shape().str());
  tokens_->shelf->insert_or_assign(std::string(name), value);
}

Tensor Call::take(std::string_view name) const {
  const auto at = tokens_->shelf->find(name);
  require(site_->needs(name) && at != tokens_->shelf->end(), "`{}` takes `{}`, which {}", site_->path(), name,
          site_->needs(name) ? "nobody gave" : "it doesn't need in declare()");
  return at->second;
}

std::shared_ptr<Shelf> Call::shelf_of(const std::function<Tensor(const Tensor&)>& f) const {
  auto shelf = std::make_shared<Shelf>();
  for (const SharedValue& v : site_->needed()) shelf->emplace(v.name, f(take(v.name)));
  return shelf;
}

RandomStream Call::random(std::string_view purpose) const {
  return RandomStream(pass_->seed, fmt::format("{}.{}", site_->path(), purpose), static_cast<uint64_t>(pass_->step));
}

}  // namespace effllm
