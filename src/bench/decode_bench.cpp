#include "bench/decode_bench.h"

#include <algorithm>

#include "base/out_of_memory.h"
#include "base/text.h"
#include "decode/reading.h"

namespace effllm {

DecodeBench::DecodeBench(const LanguageModel& model, int64_t depth, int64_t tokens) : model_(model), depth_(depth) {
  if (!model.config().causal || model.config().block > 0 || model.has_encoder())
    throw ConfigError(
        "decoding is measured of models that write one token after the other and have no encoder; this one writes "
        "otherwise");
  const int64_t room = depth + 1 + tokens;
  if (room > model.longest())
    throw ConfigError("{} after {} are more than the {} that the model has learned positions for",
                      counted(tokens + 1, "token"), depth, model.longest());
  const Activity activity("decoding", "choose a smaller depth (--depths)");
  const Tape::Paused paused;
  place_ = model.make_state(1, room);
  Context cx;
  int64_t piece = kPrefillPiece;
  if (model.config().prefix && depth > 0) cx.prefix = Tensor::view_of(std::span(&depth, 1), {1}), piece = depth;
  for (int64_t from = 0; from < depth; from += piece) {
    const int64_t n = std::min(piece, depth - from);
    const Tensor ids = Tensor::dense({1, n}, DType::i32);
    for (int64_t i = 0; i < n; ++i) ids.data<int32_t>()[i] = *next().data<int32_t>();
    model.body(ids, cx, &place_);
  }
  at_depth_ = token_;
}

Tensor DecodeBench::next() {
  const Tensor id = Tensor::dense({1, 1}, DType::i32);
  *id.data<int32_t>() = static_cast<int32_t>(token_);
  token_ = (3 * token_ + 7) % model_.vocab();
  return id;
}

void DecodeBench::start() {
  state_ = place_;
  token_ = at_depth_;
  step();
}

Tensor DecodeBench::step() {
  const Tape::Paused paused;
  return model_.logits(next(), {}, &state_);
}

DecodeTimings time_decoding(const LanguageModel& model, int64_t depth, int64_t tokens, int64_t repetitions) {
  DecodeBench bench(model, depth, tokens);
  std::vector<double> seconds;
  for (int64_t i = 0; i < repetitions; ++i) {
    bench.start();
    const double from = seconds_now();
    for (int64_t t = 0; t < tokens; ++t) bench.step();
    seconds.push_back((seconds_now() - from) / static_cast<double>(tokens));
  }
  return {quantiles(seconds), bench.state()};
}

}  // namespace effllm
