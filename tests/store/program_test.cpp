#include "store/program.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "support/messages.h"

using namespace effllm;

namespace {

std::string sh(const std::string& script, std::string_view input = "") {
  return run_program({"/bin/sh", "-c", script}, input);
}

std::string failure(const std::string& script) {
  return message_of<IoError>([&] { sh(script); });
}

}  // namespace

TEST_CASE("program: input goes in and output comes out, every byte, however long") {
  std::string all;
  for (int i = 0; i < 3'000'000; ++i) all += static_cast<char>(i * i % 251);
  CHECK(sh("cat", all) == all);
  CHECK(sh("cat").empty());
  CHECK(sh("tr a-c x", "abcd") == "xxxd");
  CHECK(run_program({"/bin/echo", "two  words", "$HOME"}, "") == "two  words $HOME\n");
}

TEST_CASE("program: it can't know how long its input is") { CHECK(sh("test -S /dev/stdin && echo yes") == "yes\n"); }

TEST_CASE("program: one that ends without reading is judged by its exit code") {
  CHECK(sh("echo done", std::string(5'000'000, 'x')) == "done\n");
}

TEST_CASE("program: how it failed is said, with the first line of what it complained of") {
  CHECK(failure("echo no; echo broken >&2; echo more >&2; exit 3") == "exit code 3: broken");
  CHECK(failure("exit 4") == "exit code 4");
  CHECK(failure("kill -9 $$") == "ended by signal 9");
  CHECK_THROWS_WITH_AS(run_program({"/no/such/program"}, ""),
                       "/no/such/program can't be started: No such file or directory", IoError);
}

TEST_CASE("program: the first that is installed is found, folders are none") {
  CHECK(find_program(std::array<std::string_view, 2>{"no-such-program", "sh"}).ends_with("/sh"));
  CHECK(find_program(std::array<std::string_view, 1>{"no-such-program"}).empty());
  CHECK(find_program(std::array<std::string_view, 1>{"."}).empty());
}
