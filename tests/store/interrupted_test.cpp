// Listing a folder where signals interrupt the system's calls, as network file systems let them. The functions of the
// C library are replaced by ones that fail so often before they work.
#include <dirent.h>
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "store/file.h"
#include "store/run_folder.h"
#include "store/temp_folder.h"

namespace {

int failure = EINTR;

bool fails(int& left) {
  if (left == 0) return false;
  --left;
  errno = failure;
  return true;
}
int opens_left = 0, reads_left = 0, links_left = 0;

template <class F>
F real(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

struct Interrupted {
  explicit Interrupted(int times, int error = EINTR) {
    opens_left = reads_left = times;
    failure = error;
  }
  ~Interrupted() { opens_left = reads_left = 0; }
};

}  // namespace

extern "C" DIR* opendir(const char* name) {
  return fails(opens_left) ? nullptr : real<DIR* (*)(const char*)>("opendir")(name);
}
extern "C" dirent* readdir(DIR* folder) {
  return fails(reads_left) ? nullptr : real<dirent* (*)(DIR*)>("readdir")(folder);
}

extern "C" int link(const char* from, const char* to) noexcept {
  return fails(links_left) ? -1 : real<int (*)(const char*, const char*)>("link")(from, to);
}

using namespace effllm;

TEST_CASE("file: a second name for a file is made at once, a copy where the file system has no links") {
  const TempFolder folder("second_name");
  spill(folder / "a", "one");
  spill(folder / "b", "another");
  replace_by_link(folder / "a", folder / "b");
  CHECK(std::filesystem::hard_link_count(folder / "a") == 2);
  replace_by_link(folder / "a", folder / "b");  // which it is already
  CHECK(slurp(folder / "b") == "one");
  failure = EPERM;
  links_left = 1;
  replace_by_link(folder / "a", folder / "c");
  CHECK(links_left == 0);
  CHECK(std::filesystem::hard_link_count(folder / "a") == 2);
  CHECK(slurp(folder / "c") == "one");
  CHECK(list_folder(folder.path).size() == 3);  // no temporary file stays
  CHECK_THROWS_AS(replace_by_link(folder / "none", folder / "c"), IoError);
  CHECK(slurp(folder / "c") == "one");
}

TEST_CASE("file: listing a folder goes on after interruptions, other errors are the system's") {
  const TempFolder folder("interrupted");
  for (const char* name : {"a", "b", ".c"}) spill(folder / name, "");
  for (const int times : {0, 1, 5}) {
    const Interrupted calls(times);
    std::vector<std::filesystem::path> all = list_folder(folder.path);
    std::ranges::sort(all);
    CHECK(all == std::vector{folder / ".c", folder / "a", folder / "b"});
    CHECK(opens_left == 0);
    CHECK(reads_left == 0);
  }
  const Interrupted calls(1, EIO);
  CHECK(message_of<IoError>([&] { list_folder(folder.path); }).ends_with(": Input/output error"));
  CHECK(message_of<IoError>([&] { list_folder(folder / "none"); }).ends_with(": No such file or directory"));
}

TEST_CASE("file: an interrupted listing hides no checkpoint, and what can't be listed is not taken for empty") {
  const TempFolder runs("interrupted_run");
  const RunFolder run = RunFolder::create(runs.path, "r", true);
  spill(run.checkpoint(7), "");
  {
    const Interrupted calls(3);
    CHECK(run.steps() == std::vector<int64_t>{7});
  }
  const Interrupted calls(1, EIO);
  CHECK_THROWS_AS(run.steps(), IoError);
}
