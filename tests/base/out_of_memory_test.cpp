#include "base/out_of_memory.h"

#include <doctest/doctest.h>

#include <new>
#include <string>

using effllm::Activity;

namespace {

// What is known in the handler of an exception that leaves two activities.
std::string after_failure() {
  try {
    const Activity outer("training", "train less");
    { const Activity done("reading", "read less"); }
    const Activity inner("evaluating", "evaluate less");
    throw std::bad_alloc();
  } catch (const std::bad_alloc&) {
    const Activity::Text* t = Activity::failed();
    return t ? std::string(t->what) + ": " + t->remedy : "";
  }
}

}  // namespace

TEST_CASE("activity: an exception that leaves some tells the innermost, and what was handled is forgotten") {
  CHECK(after_failure() == "evaluating: evaluate less");
  { const Activity next("sampling", "sample less"); }
  CHECK(Activity::failed() == nullptr);
  CHECK(after_failure() == "evaluating: evaluate less");
  const Activity handles("saving", "save less");
  CHECK(Activity::failed() == nullptr);
}
