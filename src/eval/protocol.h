// How a text is cut up to be scored, by name.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "config/list.h"

namespace effllm {

class Protocol {
 public:
  virtual ~Protocol() = default;
  // Inputs from one window of `tokens` inputs to the next, 1 to `tokens`.
  virtual int64_t stride(int64_t tokens) const { return tokens; }
  // ConfigError where windows of so many inputs would leave targets out.
  virtual void require(int64_t /*tokens*/) const {}
  virtual std::string describe(int64_t tokens) const = 0;  // "windows of 256 tokens"
};

struct ProtocolFacts {
  std::string_view name, title;
  bool carried = false;  // the state goes from each window to the next
};
using ProtocolInfo = Entry<Protocol, ProtocolFacts>;
extern const List<ProtocolInfo> all_protocols;

// With this stride, where one is given. ConfigError for an unknown name, and where the protocol has no stride.
Choice<ProtocolInfo> protocol(std::string_view name, std::optional<int64_t> stride = {});

}  // namespace effllm
