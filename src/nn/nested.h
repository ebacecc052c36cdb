// A mixer inside a mixer: its part of the state, and its name in the sites of taps and random numbers.
#pragma once
#include <memory>
#include <string>

#include "nn/sequence_mixer.h"

namespace effllm {

class Nested {
 public:
  Nested(std::string name, std::shared_ptr<const SequenceMixer> mixer)
      : name_(std::move(name)), mixer_(std::move(mixer)) {}

  // The same mixer, with its weights, under another name.
  Nested renamed(std::string name) const { return {std::move(name), mixer_}; }
  // Its fields as "<name>.<field>".
  void append_fields(StateSpec& spec, int64_t tokens) const;
  int64_t sequences_together() const { return mixer_->sequences_together(); }
  LongText long_text(int64_t trained) const { return mixer_->long_text(trained); }
  // As the mixer's own forward(), in a call inside `outer`, with its output tapped as "out" there.
  Tensor forward(const Tensor& x, const Call& outer) const;

 private:
  std::string name_;
  std::shared_ptr<const SequenceMixer> mixer_;
};

}  // namespace effllm
