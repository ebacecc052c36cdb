#include "eval/protocol.h"

#define LIST all_protocols
#define KIND "protocol"
#define INFO ProtocolInfo
#define ENTRIES protocols
#define LINES "lists/protocols.def"
#include "config/list.inc"

namespace effllm {

Choice<ProtocolInfo> protocol(std::string_view name, std::optional<int64_t> stride) {
  ConfigNode node = ConfigNode::map().with("type", ConfigNode::scalar(std::string(name)));
  if (stride) node.set("stride", std::to_string(*stride));
  return all_protocols.read(node);
}

}  // namespace effllm
