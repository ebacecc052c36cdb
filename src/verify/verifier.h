// The checks of one model, in the order in which they are made.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "verify/compare.h"

namespace effllm {

// What the layers of a model, and those inside them, waive.
std::vector<std::string> waived(const LanguageModel& model, std::string_view Waivers::*promise, std::string_view what);

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

  std::vector<Finding> all();

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

  // Forms (verify.cpp).
  bool finite();
  void cuts();
  void single_tokens();
  void chunks();
  void training_form();
  Outcome sequence_of(const Outcome& o, int64_t b) const;
  void batch();
  void documents();
  void thread_counts();
  // What a token sees (what_is_seen.cpp).
  void noisy_form();
  void prefix();
  void causality();
  void both_sides();
  void encoder();
  // States (kept_states.cpp).
  Outcome rest(State& state) const;
  State half() const;
  void stored_state();
  void rollback();
  void taken_back();

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

}  // namespace effllm
