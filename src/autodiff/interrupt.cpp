#include "autodiff/interrupt.h"

#include <utility>

namespace effllm {

std::atomic<const Interrupt*> Interrupt::current_ = nullptr;

Interrupt::Interrupt(std::function<bool()> wanted) : wanted_(std::move(wanted)) { current_ = this; }
Interrupt::~Interrupt() { current_ = nullptr; }

}  // namespace effllm
