// Inputs [0, T), [s, s + T), [2s, 2s + T) ..., each from nothing, s the stride. The first window scores all its
// targets, every later one the last s: targets after the first window have T - s + 1 to T tokens of context.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "eval/protocol.h"

namespace effllm {
namespace {

struct SlidingOptions final : Options {
  std::optional<int64_t> stride;
  void visit(OptionVisitor& v) override {
    v("stride", stride, "Sets the tokens between windows of `sliding`; default: half a window.",
      between(1, kMostTokens));
  }
};

class Sliding final : public Protocol {
 public:
  using Options = SlidingOptions;
  explicit Sliding(const Options& o) : options_(o) {}
  int64_t stride(int64_t tokens) const override { return options_.stride.value_or(std::max<int64_t>(1, tokens / 2)); }
  void require(int64_t tokens) const override {
    if (stride(tokens) > tokens)
      throw_at(options_.mark, fmt::format("a stride of {} skips targets between windows of {}; choose a stride of at "
                                          "most {}, or leave it out for half a window",
                                          stride(tokens), counted(tokens, "token"), tokens));
  }
  std::string describe(int64_t tokens) const override {
    return fmt::format("sliding windows of {}, stride {}", counted(tokens, "token"), stride(tokens));
  }

 private:
  SlidingOptions options_;
};

}  // namespace

namespace protocols {

extern constinit const ProtocolInfo sliding = ProtocolInfo::of<Sliding>(
    {.name = "sliding", .title = "windows that overlap; only targets with much context count, each once"});

}  // namespace protocols
}  // namespace effllm
