// Chunks of T inputs in order, the state carried from one to the next: all that came before is context.
#include "eval/protocol.h"

namespace effllm {
namespace {

struct Carried final : Protocol {
  std::string describe(int64_t) const override { return "one pass, state carried"; }
};

}  // namespace

namespace protocols {

extern constinit const ProtocolInfo carried = ProtocolInfo::of<Carried>(
    {.name = "carried", .title = "one pass over the split, the state carried from chunk to chunk", .carried = true});

}  // namespace protocols
}  // namespace effllm
