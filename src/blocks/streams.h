// Blocks with several residual streams: hyper-connections. Where layers with streams follow each other, the first makes
// copies of what it is given, each reads what the one before has left on the shelf, and each gives what is left of its
// streams to whatever comes after them: the head, or a block without streams.
#pragma once
#include "blocks/residual.h"

namespace effllm {

struct StreamOptions : ResidualOptions {
  int64_t streams = 4;
  void visit(OptionVisitor& v) override;
};

class Streams : public Residual {
 public:
  Streams(const StreamOptions& o, const LayerArgs& args, const Scope& s);
  void declare(Site& site) const override;

 protected:
  enum Part { kMixer, kFfn };
  using Branch = std::function<Tensor(const Tensor& in)>;  // what one part gives

  Tensor run(const Tensor& x, const Call& call) const final;
  // The streams [B, T, n D] after one part.
  virtual Tensor connected(const Tensor& streams, Part part, const Branch& branch) const = 0;
  virtual Tensor collapsed(const Tensor& streams) const;  // [B, T, D]: their sum

  // Which of the streams this part of this layer reads first, as it starts.
  static int64_t first_of(const LayerArgs& args, Part part, int64_t streams) {
    return (2 * args.layer + part) % streams;
  }
  int64_t streams() const { return streams_; }

 private:
  int64_t streams_, width_;
};

}  // namespace effllm
