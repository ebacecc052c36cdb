// Inputs [0, T), [T, 2T) ..., each from nothing, targets one further (nanoGPT's). The last may be shorter. The first
// target of a window has one token of context.
#include "base/text.h"
#include "eval/protocol.h"

namespace effllm {
namespace {

struct Windows final : Protocol {
  std::string describe(int64_t tokens) const override { return "windows of " + counted(tokens, "token"); }
};

}  // namespace

namespace protocols {

extern constinit const ProtocolInfo windows = ProtocolInfo::of<Windows>(
    {.name = "windows", .title = "windows side by side, each from nothing; every target counts"});

}  // namespace protocols
}  // namespace effllm
