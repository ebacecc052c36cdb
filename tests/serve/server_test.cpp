#include "serve/server.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "serve/httplib.h"
#include "serve/tiny_served.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("server: a request for another machine, or with too long a body, comes to nobody") {
  TinyServed t;
  t.served.limits.body_bytes = 1000;
  Server server(t.served, {.port = 0});
  std::atomic<bool> ended = false;
  std::thread asks([&] {
    httplib::Client client("127.0.0.1", server.port());
    client.set_read_timeout(60);
    const auto status = [&](const std::string& host, const std::string& body) {
      const auto r = client.Post("/v1/completions", {{"Host", host}}, body, "application/json");
      return r ? r->status : 0;
    };
    CHECK(status("localhost", R"({"prompt": "abc"})") == 200);
    CHECK(status("example.org", R"({"prompt": "abc"})") == 403);
    CHECK(status("localhost", R"({"prompt": "abc")" + std::string(1000, ' ') + "}") == 413);
    ended = true;
  });
  server.run([&] { return ended.load(); });
  asks.join();
}
