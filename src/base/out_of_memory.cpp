#include "base/out_of_memory.h"

#include <exception>

namespace effllm {

Activity::Text Activity::failed_ = {};

Activity::Activity(const char* what, const char* remedy)
    : text_{what, remedy}, exceptions_(std::uncaught_exceptions()) {
  failed_ = {};
}

Activity::~Activity() {
  if (std::uncaught_exceptions() <= exceptions_)
    failed_ = {};
  else if (!failed_.what)
    failed_ = text_;
}

}  // namespace effllm
