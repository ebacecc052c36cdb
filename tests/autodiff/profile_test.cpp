#include "autodiff/profile.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "autodiff/meter.h"
#include "autodiff/tape.h"
#include "kernels/parallel.h"
#include "ops/linear.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Profile::Row* row(const std::vector<Profile::Row>& rows, std::string_view name, Way way) {
  const auto it = std::ranges::find_if(rows, [&](const auto& r) { return r.name == name && r.way == way; });
  return it == rows.end() ? nullptr : &*it;
}

}  // namespace

TEST_CASE("profile: every op forwards and backwards on every thread, with the FLOPs that its cost states") {
  Profile profile;
  run_workers(3, [](int worker) {
    const LayerName layer("layers.0.mixer");
    Tape tape;
    const Tensor x = tape.leaf(random({4, 6}, static_cast<uint64_t>(worker))), w = tape.leaf(random({5, 6}, 9));
    const Tape::Recording recording(tape);
    const Tensor y = linear(x, w);
    tape.backward(y, random({4, 5}, 3));
  });
  const auto rows = profile.rows();
  const Profile::Row *forward = row(rows, "linear", Way::forward), *backward = row(rows, "linear", Way::backward);
  REQUIRE(forward);
  REQUIRE(backward);
  CHECK(forward->calls == 3);
  CHECK(backward->calls == 3);
  CHECK(forward->flops == 3 * 2 * 4 * 5 * 6);
  CHECK(backward->flops == 2 * forward->flops);
  CHECK(forward->seconds > 0);
  const std::string trace = profile.chrome_trace();
  CHECK(trace.find("\"layer\":\"layers.0.mixer\"") != trace.npos);
  CHECK(std::ranges::count(trace, '\n') == 1 + 6 + 1);
  profile.clear();
  CHECK(profile.rows().empty());
}

TEST_CASE("profile: time inside an inner span is not the outer one's, and nothing is recorded when off") {
  CHECK_FALSE(Profile::on());
  { const Profile::Span nobody("nobody", "", Way::phase); }
  Profile profile;
  {
    const Profile::Span outer("outer", "", Way::phase);
    const Profile::Span inner("inner", "", Way::phase);
    double x = 1;
    for (int i = 0; i < 3000000; ++i) x = x * 0.999 + 1;
    CHECK(x > 0);
  }
  const auto rows = profile.rows();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].name == "inner");
  CHECK(rows[1].seconds < rows[0].seconds);
}
