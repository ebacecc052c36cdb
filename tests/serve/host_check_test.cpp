#include "serve/host_check.h"

#include <doctest/doctest.h>

using namespace effllm;

TEST_CASE("host check: names of this machine with any port, and no others") {
  for (const char* host : {"localhost", "127.0.0.1", "[::1]", "localhost:8080", "127.0.0.1:1", "[::1]:65535"})
    CHECK_MESSAGE(is_local_host(host), host);
  for (const char* host : {"", ":80", "[", "[]", "[::1", "[::1]x", "[::2]", "example.org", "localhost.example.org",
                           "localhost:", "localhost:80.example.org", "localhost:123456", "127.0.0.10", "xlocalhost"})
    CHECK_MESSAGE(!is_local_host(host), host);
}
