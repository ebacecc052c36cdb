#include "verify/verify.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/random.h"
#include "checkpoint/state_file.h"
#include "kernels/parallel.h"
#include "verify/compare.h"

namespace effllm {
namespace {

// What the layers of a model, and those inside them, waive.
std::vector<std::string> waived(const LanguageModel& model, std::string_view Waivers::*promise, std::string_view what) {
  std::set<std::string> all;
  for (const LayerSpec& l : model.config().layers)
    for_all_inside(l.block, [&](const Choice<LayerInfo>& m) {
      if (const std::string_view why = m.info().waivers.*promise; !why.empty())
        all.insert(fmt::format("{}: {}: {}", what, m.name(), why));
    });
  return {all.begin(), all.end()};
}

class Verifier {
 public:
  Verifier(const LanguageModel& model, const Tensor& ids, const VerifyOptions& options)
      : model_(model),
        ids_(ids),
        options_(options),
        batch_(ids.dim(0)),
        tokens_(ids.dim(1)),
        wide_(model.params().dtype() == DType::f64),
        numbers_(options.seed, "verify"),
        unit_(std::max<int64_t>(1, model.config().block)),
        memory_(memory_of(options.read)),
        whole_(run(ids)) {
    require(batch_ >= 1 && tokens_ >= std::max<int64_t>(4, 2 * unit_), "verify: ids{} are too few", ids.shape().str());
  }

  std::vector<Finding> all() {
    if (!finite()) return std::move(findings_);  // nothing else means anything
    const bool causal = model_.config().causal;
    if (causal) cuts();
    if (causal) single_tokens();
    chunks();
    training_form();
    if (model_.config().block) noisy_form();
    if (model_.config().prefix) prefix();
    causal ? causality() : both_sides();
    if (model_.has_encoder()) encoder();
    batch();
    if (causal) stored_state();
    if (causal) rollback();
    documents();
    thread_counts();
    return std::move(findings_);
  }

 private:
  Memory memory_of(const Tensor& read) const { return model_.has_encoder() ? model_.encode(read, {}) : Memory(); }
  Outcome run(const Tensor& ids, const Way& way = {}) const { return run(ids, way, memory_); }
  Outcome run(const Tensor& ids, const Way& way, const Memory& memory) const {
    return effllm::run(model_, ids, way, memory);
  }
  double bound() const { return wide_ ? 1e-10 : 1e-4; }
  // The start of a block near t, where a state may end: t itself where there are none.
  int64_t border(int64_t t) const { return std::clamp(t / unit_ * unit_, unit_, (tokens_ - 1) / unit_ * unit_); }
  Finding& begin(std::string check, double allowed) {
    Finding& f = findings_.emplace_back();
    f.check = std::move(check);
    f.bound = allowed;
    return f;
  }
  void end() { judge(findings_.back(), !wide_); }
  int64_t token_below(int64_t n) { return static_cast<int64_t>(numbers_.below(draws_++, static_cast<uint64_t>(n))); }

  bool finite() {
    Finding& f = begin("finite numbers", 0);
    compare(f, whole_, 0, whole_, "whole");  // what is not a number differs from itself
    end();
    return f.passed;
  }

  void cuts() {
    Finding& f = begin("cut in two", bound());
    for (int64_t at : std::set<int64_t>{border(1), border(tokens_ / 4 + 1), border(tokens_ / 2), border(tokens_ - 1)})
      compare(f, run(ids_, {.cuts = {at}}), 0, whole_, fmt::format("cut at {}", at));
    end();
    Finding& many = begin("cut anywhere", bound());
    for (int64_t pieces : {3, 6}) {
      std::set<int64_t> at;
      for (int64_t i = 1; i < pieces; ++i) at.insert(border(1 + token_below(tokens_ - 1)));
      compare(many, run(ids_, {.cuts = {at.begin(), at.end()}}), 0, whole_,
              fmt::format("cut at {}", fmt::join(at, ", ")));
    }
    end();
  }

  void single_tokens() {
    compare(begin(unit_ > 1 ? "single blocks" : "single tokens", bound()),
            run(ids_, {.cuts = every_token(tokens_, unit_)}), 0, whole_, "steps");
    end();
  }

  void chunks() {
    Finding& f = begin("chunk sizes", bound());
    for (int64_t chunk : {1, 3, 16, 64})
      compare(f, run(ids_, {.chunk = chunk}), 0, whole_, fmt::format("chunk {}", chunk));
    end();
  }

  void training_form() {
    const bool otherwise = model_.trains_otherwise();
    Finding& f = begin("training form", otherwise ? kWaived : bound());
    Outcome form = run(ids_, {.phase = Phase::train});
    if (otherwise) {  // shown, and not judged
      f.notes = waived(model_, &Waivers::training, "training form");
      if (const std::string same = choices_in_common(form, whole_); !same.empty())
        f.notes.push_back("training form: choices that it shares with the other: " + same);
      form.choices.clear();
    }
    compare(f, form, 0, whole_, "training form");
    end();
  }

  // Clean and noisy tokens of one pass, as blocks are written.
  void noisy_form() {
    Finding& f = begin("clean and noisy tokens", bound());
    const Tensor seen = ids_.clone();
    for (int64_t i = 0; i < seen.numel(); ++i)
      if (token_below(2)) seen.data<int32_t>()[i] = static_cast<int32_t>(model_.vocab());
    compare(f, run_noisy(model_, ids_, seen), 0, run_noisy_by_blocks(model_, ids_, seen), "one pass");
    end();
  }

  // A prefix that is read at once, tokens after it in any calls; its first token sees the others.
  void prefix() {
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
  void causality() {
    const std::vector<std::string> up_to_rounding = waived(model_, &Waivers::causal, "causality up to rounding");
    Finding& f = begin("nothing looks ahead", up_to_rounding.empty() ? 0 : bound());
    f.notes = up_to_rounding;
    for (int64_t at : std::set<int64_t>{0, tokens_ / 3, tokens_ / 2, tokens_ - 1 - unit_}) {
      const int64_t t = at / unit_ * unit_ + unit_ - 1;  // the last of a block
      const Tensor other = ids_.clone();
      for (int64_t b = 0; b < batch_; ++b)
        for (int64_t i = t + 1; i < tokens_; ++i) {
          int32_t& id = other.view<int32_t>().row(b)[i];
          if (model_.vocab() > 1)
            id = static_cast<int32_t>((id + 1 + token_below(model_.vocab() - 1)) % model_.vocab());
        }
      Outcome changed = run(other);
      changed.logits = token_range(changed.logits, 0, t + 1);
      changed.choices.clear();
      compare(f, changed, 0, whole_, fmt::format("other tokens after {}", t));
    }
    end();
  }

  // Another token changes what comes out on both sides of it.
  void both_sides() {
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
  void encoder() {
    const Tensor& read = options_.read;
    const int64_t length = read.dim(1);
    Finding& f = begin("the encoder is read", 0);
    f.where = "another token of its text changes what comes out from the first token on";
    for (int64_t t : std::set<int64_t>{0, length / 2, length - 1}) {
      const Tensor other = read.clone();
      for (int64_t b = 0; b < batch_; ++b) {
        int32_t& id = other.view<int32_t>().row(b)[t];
        id = static_cast<int32_t>((id + 1 + token_below(model_.ids() - 1)) % model_.ids());
      }
      Finding same;
      Outcome first;
      first.logits = token_range(whole_.logits, 0, 1);
      compare(same, run(ids_, {}, memory_of(other)), 0, first, "");
      f.compared += same.compared;
      if (same.worst > 0) continue;
      f.passed = false;
      f.where = fmt::format("token {} of the encoder's text changes nothing at the first token", t);
    }
    Finding& behind = begin("nothing behind the encoder's text", bound());
    constexpr int64_t kMore = 3;
    const Tensor longer = Tensor::dense({batch_, length + kMore}, DType::i32);
    const Tensor lengths = Tensor::full({batch_}, DType::i64, static_cast<double>(length));
    for (int64_t b = 0; b < batch_; ++b)
      for (int64_t t = 0; t < length + kMore; ++t)
        longer.data<int32_t>()[b * (length + kMore) + t] =
            t < length ? read.view<int32_t>().row(b)[t] : static_cast<int32_t>(token_below(model_.ids()));
    compare(behind, run(ids_, {}, model_.encode(longer, {}, lengths)), 0, whole_,
            fmt::format("{} tokens behind its text", kMore));
    end();
  }

  Outcome sequence_of(const Outcome& o, int64_t b) const {
    Outcome one;
    one.logits = o.logits.row_range(b * tokens_, {1, tokens_, o.logits.cols()});
    for (const auto& [name, t] : o.choices) one.choices[name] = t.row_range(b * tokens_, {1, tokens_, t.cols()});
    return one;
  }

  void batch() {
    Finding& f = begin("sequences alone", bound());
    for (int64_t b = 0; b < batch_; ++b)
      compare(f, run(ids_.row_range(b, {1, tokens_}).clone(), {}, memory_.pick({b})), 0, sequence_of(whole_, b),
              fmt::format("sequence {} alone", b));
    end();
  }

  // The second half after a first one, from `state`.
  Outcome rest(State& state) const {
    Outcome o;
    o.logits = model_.logits(token_range(ids_, border(tokens_ / 2), tokens_), {}, &state);
    return o;
  }
  State half() const {
    State state = model_.make_state(batch_, tokens_);
    Context cx;
    cx.memory = memory_;
    model_.logits(token_range(ids_, 0, border(tokens_ / 2)), cx, &state);
    return state;
  }

  void stored_state() {
    Finding& f = begin("state stored and read", 0);
    const auto folder = options_.scratch.empty() ? std::filesystem::temp_directory_path() : options_.scratch;
    const auto file = folder / fmt::format("effllm-state-{}.safetensors", getpid());
    State state = half();
    save_state(file, state);
    State again = model_.make_state(batch_, tokens_);
    if (model_.has_encoder()) {  // of a memory of this size, so that it has the room
      Context cx;
      cx.memory = {Tensor::zeros(memory_.rows.shape(), memory_.rows.dtype()), memory_.lengths};
      model_.logits(token_range(ids_, 0, 1), cx, &again);
    }
    load_state(file, again);
    std::filesystem::remove(file);
    const Outcome right = rest(state);
    compare(f, rest(again), 0, right, fmt::format("stored after {} tokens", border(tokens_ / 2)));
    end();
  }

  // A branch that reads something else leaves the state that it was copied from as it was.
  void rollback() {
    Finding& f = begin("rollback to a clone", 0);
    State state = half();
    State undisturbed = half();
    State branch = state;
    model_.logits(token_range(ids_, 0, tokens_ - border(tokens_ / 2)), {}, &branch);
    const Outcome right = rest(undisturbed);
    compare(f, rest(state), 0, right, fmt::format("rolled back to {} tokens", border(tokens_ / 2)));
    end();
  }

  // Two documents in a row come out as each alone, whole and cut near the border.
  void documents() {
    Finding& f = begin("packed documents", bound());
    const int64_t border = this->border(tokens_ / 3 + 1);
    const Tensor segments = Tensor::zeros({batch_, tokens_}, DType::i64);
    for (int64_t b = 0; b < batch_; ++b)
      for (int64_t t = border; t < tokens_; ++t) segments.view<int64_t>().row(b)[t] = 1;
    const Outcome first = run(token_range(ids_, 0, border)), second = run(token_range(ids_, border, tokens_));
    const auto check = [&](const Way& way, const std::string& label) {
      const Outcome packed = run(ids_, way);
      compare(f, packed, 0, first, label + ", first document");
      compare(f, packed, border, second, label + ", second document");
    };
    check({.segments = &segments}, "whole");
    for (int64_t cut : {border - 1, border, border + 1})
      if (model_.config().causal && unit_ == 1)
        check({.cuts = {cut}, .segments = &segments}, fmt::format("cut at {}", cut));
    end();
  }

  void thread_counts() {
    Finding& f = begin("threads", 0);
    const int before = threads();
    for (int n : {1, 2, 3}) {
      set_threads(n);
      compare(f, run(ids_, {}, memory_of(options_.read)), 0, whole_, fmt::format("{} thread{}", n, n == 1 ? "" : "s"));
    }
    set_threads(before);
    end();
  }

  const LanguageModel& model_;
  const Tensor& ids_;
  const VerifyOptions& options_;
  int64_t batch_, tokens_;
  bool wide_;
  RandomStream numbers_;
  uint64_t draws_ = 0;
  const int64_t unit_;  // tokens of a block
  Memory memory_;
  Outcome whole_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> verify(const LanguageModel& model, const Tensor& ids, const VerifyOptions& options) {
  return Verifier(model, ids, options).all();
}

}  // namespace effllm
