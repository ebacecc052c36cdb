#include "store/run_folder.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "store/temp_folder.h"

using namespace effllm;
namespace fs = std::filesystem;

namespace {

void make_checkpoint(const RunFolder& run, int64_t step) {
  const auto x = static_cast<float>(step);
  write_safetensors(run.checkpoint(step), {{"w", StoredType::f32, {1}, reinterpret_cast<const std::byte*>(&x), 4}}, {});
}

}  // namespace

TEST_CASE("run folder: a new run gets a folder of its own, a resumed one the same") {
  const TempFolder runs("runs");
  CHECK(RunFolder::create(runs.path / "deep/er", "a", true).path() == runs.path / "deep/er/a");
  CHECK(RunFolder::create(runs.path / "deep/er", "a", true).path() == runs.path / "deep/er/a-2");
  CHECK(RunFolder::create(runs.path / "deep/er", "a", true).path() == runs.path / "deep/er/a-3");
  CHECK(RunFolder::create(runs.path / "deep/er", "a", false).path() == runs.path / "deep/er/a");
  for (const char* part : {"ckpt", "samples", "eval"}) CHECK(fs::is_directory(runs.path / "deep/er/a" / part));
  fs::create_directories(runs / "empty");
  CHECK(RunFolder::create(runs.path, "empty", true).path() == runs.path / "empty");
  spill(runs / "file", "x");
  const std::string message = message_of<IoError>([&] { RunFolder::create(runs / "file", "a", true); });
  CHECK(message.find("file/a") != message.npos);
  CHECK(message.find("--runs") != message.npos);
}

TEST_CASE("run folder: steps are those of checkpoints alone, in order, and rotation keeps the newest") {
  const TempFolder runs("rotate");
  const RunFolder run = RunFolder::create(runs.path, "r", true);
  CHECK(run.steps().empty());
  for (int64_t step : {100, 20, 3, 1000000}) make_checkpoint(run, step);
  for (const char* other :
       {"best.safetensors", "step_x.safetensors", "step_5", "step_7.safetensors.tmp.99", "step_.safetensors"})
    spill(run.path() / "ckpt" / other, "x");
  CHECK(run.steps() == std::vector<int64_t>{3, 20, 100, 1000000});
  run.rotate(5);
  CHECK(run.steps().size() == 4);
  run.rotate(2);
  CHECK(run.steps() == std::vector<int64_t>{100, 1000000});
  CHECK(fs::exists(run.best()));
  CHECK(run.checkpoint(20).filename() == "step_000000020.safetensors");
}

TEST_CASE("run folder: the newest checkpoint that verifies is found, the others are named") {
  const TempFolder runs("newest");
  const RunFolder run = RunFolder::create(runs.path, "r", true);
  std::vector<std::string> refused;
  CHECK_FALSE(run.newest_valid(refused).has_value());
  for (int64_t step : {10, 20, 30, 40}) make_checkpoint(run, step);
  CHECK(run.newest_valid(refused) == 40);
  CHECK(refused.empty());
  std::string bytes = slurp(run.checkpoint(40));
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  spill(run.checkpoint(40), bytes);
  spill(run.checkpoint(30), "");
  CHECK(run.newest_valid(refused) == 20);
  REQUIRE(refused.size() == 2);
  CHECK(refused[0].find("step_000000040") != std::string::npos);
  CHECK(refused[1].find("step_000000030") != std::string::npos);
}

TEST_CASE("run folder: the best is a file of its own that outlives rotation and is replaced at once") {
  const TempFolder runs("best");
  const RunFolder run = RunFolder::create(runs.path, "r", true);
  make_checkpoint(run, 1);
  const std::string first = slurp(run.checkpoint(1));
  run.mark_best(1);
  make_checkpoint(run, 2);
  run.rotate(1);
  CHECK(run.steps() == std::vector<int64_t>{2});
  CHECK(slurp(run.best()) == first);
  // A checkpoint of the same step written anew is another file: the best stays what it was.
  run.mark_best(2);
  CHECK(slurp(run.best()) == slurp(run.checkpoint(2)));
  const std::string second = slurp(run.best());
  make_checkpoint(run, 3);
  fs::rename(run.checkpoint(3), run.checkpoint(2));
  CHECK(slurp(run.best()) == second);
  CHECK_FALSE(fs::exists(run.best().string() + ".next"));
}

TEST_CASE("run folder: what interrupted writes left is swept wherever runs write") {
  const TempFolder runs("sweep");
  const RunFolder run = RunFolder::create(runs.path, "r", true);
  make_checkpoint(run, 1);
  run.mark_best(1);
  spill(run.path() / "status.json", "{}");
  spill(run.samples() / "step_000000001.txt", "a sample");
  const std::string ended = ".tmp.999999999";  // above every process id of Linux
  for (const fs::path& file : {run.path() / "status.json", run.checkpoint(2), run.best(),
                               run.samples() / "step_000000002.txt", run.evaluations() / "val-windows.json"})
    spill(file.string() + ended, "half");
  spill(run.best().string() + ".next", "of an earlier version");
  CHECK(run.sweep() == 6);
  CHECK(run.sweep() == 0);
  int files = 0;
  for (const auto& e : fs::recursive_directory_iterator(run.path())) files += e.is_regular_file();
  CHECK(files == 4);
}

TEST_CASE("run folder: a user's word means the file, else the best, else the newest") {
  const TempFolder runs("find");
  const RunFolder run = RunFolder::create(runs.path, "r", true);
  CHECK_THROWS_WITH_AS(find_checkpoint(run.path()), doctest::Contains("holds no checkpoint"), CheckpointError);
  CHECK_THROWS_WITH_AS(find_checkpoint(runs / "none"), doctest::Contains("no such run folder"), CheckpointError);
  make_checkpoint(run, 5);
  make_checkpoint(run, 6);
  CHECK(find_checkpoint(run.path()) == run.checkpoint(6));
  run.mark_best(5);
  CHECK(find_checkpoint(run.path()) == run.best());
  CHECK(find_checkpoint(run.checkpoint(5)) == run.checkpoint(5));
}
