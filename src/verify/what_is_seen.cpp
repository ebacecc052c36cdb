// Checks of what a token sees: those before it alone, both sides, a prefix, a block, an encoder's text.
#include <fmt/format.h>

#include <set>

#include "verify/verifier.h"

namespace effllm {

// Clean and noisy tokens of one pass, as blocks are written.
void Verifier::noisy_form() {
  Finding& f = begin("clean and noisy tokens", bound());
  const Tensor seen = ids_.clone();
  for (int64_t i = 0; i < seen.numel(); ++i)
    if (token_below(2)) seen.data<int32_t>()[i] = static_cast<int32_t>(model_.vocab());
  compare(f, run_noisy(model_, ids_, seen), 0, run_noisy_by_blocks(model_, ids_, seen), "one pass");
  end();
}

// A prefix that is read at once, tokens after it in any calls; its first token sees the others.
void Verifier::prefix() {
  Finding& f = begin("prefix read at once", bound());
  const int64_t n = tokens_ / 2;
  const Outcome whole = run(ids_, {.prefix = n});
  for (const int64_t cut : std::set<int64_t>{n, n + 1, tokens_ - 1})
    compare(f, run(ids_, {.cuts = {cut}, .prefix = n}), 0, whole, fmt::format("cut at {}", cut));
  std::vector<int64_t> steps;
  for (int64_t t = n; t < tokens_; ++t) steps.push_back(t);
  compare(f, run(ids_, {.cuts = steps, .prefix = n}), 0, whole, "steps");
  end();
  Finding same;
  Outcome first;
  first.logits = token_range(whole.logits, 0, 1);
  compare(same, whole_, 0, first, "");
  if (same.worst > 0) return;
  findings_.back().passed = false;
  findings_.back().where = "the first token of a prefix does not see the others";
}

// Other tokens after t change nothing up to it.
void Verifier::causality() {
  const std::vector<std::string> up_to_rounding = waived(model_, &Waivers::causal, "causality up to rounding");
  Finding& f = begin("nothing looks ahead", up_to_rounding.empty() ? 0 : bound());
  f.notes = up_to_rounding;
  for (int64_t at : std::set<int64_t>{0, tokens_ / 3, tokens_ / 2, tokens_ - 1 - unit_}) {
    const int64_t t = at / unit_ * unit_ + unit_ - 1;  // the last of a block
    const Tensor other = ids_.clone();
    for (int64_t b = 0; b < batch_; ++b)
      for (int64_t i = t + 1; i < tokens_; ++i) {
        int32_t& id = other.view<int32_t>().row(b)[i];
        if (model_.vocab() > 1) id = static_cast<int32_t>((id + 1 + token_below(model_.vocab() - 1)) % model_.vocab());
      }
    Outcome changed = run(other);
    changed.logits = token_range(changed.logits, 0, t + 1);
    changed.choices.clear();
    compare(f, changed, 0, whole_, fmt::format("other tokens after {}", t));
  }
  end();
}

// Another token changes what comes out on both sides of it.
void Verifier::both_sides() {
  Finding& f = begin("both sides are seen", 0);
  f.where = "another token changes what comes out before and after it";
  for (int64_t t : std::set<int64_t>{0, tokens_ / 2, tokens_ - 1}) {
    const Tensor other = ids_.clone();
    for (int64_t b = 0; b < batch_; ++b) {
      int32_t& id = other.view<int32_t>().row(b)[t];
      id = static_cast<int32_t>((id + 1 + token_below(model_.ids() - 1)) % model_.ids());
    }
    const Outcome changed = run(other);
    for (const auto& [from, to] : {std::pair{int64_t{0}, t}, {t + 1, tokens_}}) {
      if (from == to) continue;
      Finding same;
      Outcome part;
      part.logits = token_range(whole_.logits, from, to);
      compare(same, changed, from, part, "");
      f.compared += same.compared;
      if (same.worst > 0) continue;
      f.passed = false;
      f.where = fmt::format("token {} is not seen from tokens {} to {}", t, from, to - 1);
    }
  }
}

// What an encoder reads changes all that comes out, wherever it stands, and what is behind its text nothing.
void Verifier::encoder() {
  const Tensor& read = options_.read;
  const int64_t length = read.dim(1);
  Finding& f = begin("the encoder is read", 0);
  const bool chooses = model_.trains_otherwise();
  f.where = chooses ? "another token of its text changes what comes out"
                    : "another token of its text changes what comes out from the first token on";
  for (int64_t t : std::set<int64_t>{0, length / 2, length - 1}) {
    const Tensor other = read.clone();
    for (int64_t b = 0; b < batch_; ++b) {
      int32_t& id = other.view<int32_t>().row(b)[t];
      id = static_cast<int32_t>((id + 1 + token_below(model_.ids() - 1)) % model_.ids());
    }
    Finding same;
    Outcome part;  // where layers choose tokens, those of any that read the encoder
    part.logits = chooses ? whole_.logits : token_range(whole_.logits, 0, 1);
    compare(same, run(ids_, {}, memory_of(other)), 0, part, "");
    f.compared += same.compared;
    if (same.worst > 0) continue;
    if (chooses) {
      f.notes.push_back(
          fmt::format("{}: token {} of the encoder's text changes nothing: layers that choose tokens may "
                      "have chosen none that reads it",
                      f.check, t));
      continue;
    }
    f.passed = false;
    f.where = fmt::format("token {} of the encoder's text changes nothing at the first token", t);
  }
  constexpr int64_t kMore = 3;
  const int64_t text = std::min(length, model_.longest_read() - kMore);  // so that there are places behind it
  if (text < 1) return;
  Finding& behind = begin("nothing behind the encoder's text", bound());
  const Tensor longer = Tensor::dense({batch_, text + kMore}, DType::i32);
  const Tensor lengths = Tensor::full({batch_}, DType::i64, static_cast<double>(text));
  for (int64_t b = 0; b < batch_; ++b)
    for (int64_t t = 0; t < text + kMore; ++t)
      longer.data<int32_t>()[b * (text + kMore) + t] =
          t < text ? read.view<int32_t>().row(b)[t] : static_cast<int32_t>(token_below(model_.ids()));
  const Outcome alone = text < length ? run(ids_, {}, memory_of(token_range(read, 0, text))) : whole_;
  compare(behind, run(ids_, {}, model_.encode(longer, {}, lengths)), 0, alone,
          fmt::format("{} tokens behind its text", kMore));
  end();
}

}  // namespace effllm
