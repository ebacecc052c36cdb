// Forms of a model: cuts, chunks, training's, sequences together, documents, threads.
#include "verify/verify.h"

#include <fmt/format.h>

#include <set>

#include "kernels/parallel.h"
#include "verify/verifier.h"

namespace effllm {

std::vector<std::string> waived(const LanguageModel& model, std::string_view Waivers::*promise, std::string_view what) {
  std::set<std::string> all;
  for (const LayerSpec& l : model.config().layers)
    for_all_inside(l.block, [&](const Choice<LayerInfo>& m) {
      if (const std::string_view why = m.info().waivers.*promise; !why.empty())
        all.insert(fmt::format("{}: {}: {}", what, m.name(), why));
    });
  return {all.begin(), all.end()};
}

std::vector<Finding> Verifier::all() {
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
  if (causal) taken_back();
  documents();
  thread_counts();
  return std::move(findings_);
}

bool Verifier::finite() {
  Finding& f = begin("finite numbers", 0);
  compare(f, whole_, 0, whole_, "whole");  // what is not a number differs from itself
  end();
  return f.passed;
}

void Verifier::cuts() {
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

void Verifier::single_tokens() {
  compare(begin(unit_ > 1 ? "single blocks" : "single tokens", bound()),
          run(ids_, {.cuts = every_token(tokens_, unit_)}), 0, whole_, "steps");
  end();
}

void Verifier::chunks() {
  Finding& f = begin("chunk sizes", bound());
  for (int64_t chunk : {1, 3, 16, 64})
    compare(f, run(ids_, {.chunk = chunk}), 0, whole_, fmt::format("chunk {}", chunk));
  end();
}

void Verifier::training_form() {
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

Outcome Verifier::sequence_of(const Outcome& o, int64_t b) const {
  Outcome one;
  one.logits = o.logits.row_range(b * tokens_, {1, tokens_, o.logits.cols()});
  for (const auto& [name, t] : o.choices) one.choices[name] = t.row_range(b * tokens_, {1, tokens_, t.cols()});
  return one;
}

void Verifier::batch() {
  Finding& f = begin("sequences alone", bound());
  for (int64_t b = 0; b < batch_; ++b)
    compare(f, run(ids_.row_range(b, {1, tokens_}).clone(), {}, memory_.pick({b})), 0, sequence_of(whole_, b),
            fmt::format("sequence {} alone", b));
  end();
}

// Two documents in a row come out as each alone, whole and cut near the border.
void Verifier::documents() {
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
    if (model_.config().causal && model_.config().block == 0)
      check({.cuts = {cut}, .segments = &segments}, fmt::format("cut at {}", cut));
  end();
}

void Verifier::thread_counts() {
  Finding& f = begin("threads", 0);
  const int before = threads();
  for (int n : {1, 2, 3}) {
    set_threads(n);
    compare(f, run(ids_, {}, memory_of(options_.read)), 0, whole_, fmt::format("{} thread{}", n, n == 1 ? "" : "s"));
  }
  set_threads(before);
  end();
}

std::vector<Finding> verify(const LanguageModel& model, const Tensor& ids, const VerifyOptions& options) {
  return Verifier(model, ids, options).all();
}

}  // namespace effllm
