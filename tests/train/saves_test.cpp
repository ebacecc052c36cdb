// What checkpoints cost beside the steps, counted, and that no time is lost in the accounts.
#include <doctest/doctest.h>

#include <chrono>
#include <fstream>

#include "base/json.h"
#include "store/hdf5_read.h"
#include "support/models.h"
#include "support/run_calls.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

// What this process has asked the system to read or write so far; -1 where the system does not tell.
int64_t bytes_moved(std::string_view way) {
  std::ifstream in("/proc/self/io");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(way)) return std::stoll(line.substr(way.size() + 1));
  return -1;
}

}  // namespace

TEST_CASE("saves: the share of time is kept, whatever a refresh costs, and the sum does not grow with the square") {
  for (const double cost_of_a_row : {1e-6, 1e-4, 1e-3}) {
    RefreshBudget budget(0.01);
    CHECK(budget.due(0));
    double time = 0, spent = 0, last = 0;
    int64_t refreshes = 0;
    for (int64_t rows = 1; rows <= 100'000; ++rows) {  // a save after every row, which took 0.1 s
      time += 0.1;
      if (!budget.due(time)) continue;
      last = cost_of_a_row * static_cast<double>(rows);
      budget.spent(time, time + last);
      time += last;
      spent += last;
      ++refreshes;
    }
    CHECK(spent - last <= 0.01 * time);
    CHECK(refreshes >= 5);
    if (cost_of_a_row == 1e-6) CHECK(refreshes >= 90'000 / 99);  // 0.1 s after 100,000 rows: every ten seconds
  }
}

TEST_CASE("saves: a checkpoint does not read or write the rows there are") {
  const Threads one(1);
  const TinyFolder t("saves_counted");
  const std::vector<std::string> few = {"train.max_steps=20", "train.eval_every=0", "eval.max_tokens=40"};
  const fs::path run = train(t, few).folder;
  {
    std::ofstream journal(run / "metrics.jsonl", std::ios::app);
    for (int i = 0; i < 30'000; ++i)
      journal << R"({"type":"train","step":20,"loss":)" << 1 + 1e-6 * i << R"(,"lr":0.001,"tokens":)" << i << "}\n";
  }
  const auto journal_bytes = static_cast<int64_t>(fs::file_size(run / "metrics.jsonl"));
  const int64_t read = bytes_moved("rchar:"), written = bytes_moved("wchar:");
  if (read < 0) {
    MESSAGE("/proc/self/io is not there to count with");
    return;
  }
  train(t, {"train.max_steps=50", "train.save_every=1", "eval.max_tokens=40"}, true);
  const auto file_bytes = static_cast<int64_t>(fs::file_size(run / "metrics.h5"));
  // The journal is read to go on, and read and written at the start and at the end, where a slow disk may add one more.
  CHECK(bytes_moved("rchar:") - read < 5 * journal_bytes);
  int64_t checkpoints = 0;
  for (const auto& e : fs::directory_iterator(run / "ckpt")) checkpoints = static_cast<int64_t>(e.file_size());
  CHECK(bytes_moved("wchar:") - written < 4 * file_bytes + 40 * checkpoints);
  CHECK(read_hdf5_series(run / "metrics.h5", "train/step").size() ==
        read_journal(run / "metrics.jsonl").find("train")->step.size());
}

TEST_CASE("saves: all time is accounted for, also over a resumption") {
  const Threads one(1);
  const TinyFolder t("saves_time");
  const auto now = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()); };
  const std::vector<std::string> often = {"train.max_steps=40", "train.save_every=1", "train.eval_every=10",
                                          "train.sample_every=5"};
  const auto start = now();
  const RunOutcome first = train(t, often);
  const double took = (now() - start).count();
  CHECK(first.seconds > 0);
  CHECK(first.save_seconds > 0);
  CHECK(first.other_seconds > 0);
  const double told = first.seconds + first.save_seconds + first.other_seconds;
  CHECK(told <= took);
  CHECK(told > 0.9 * took);
  const auto status = nlohmann::json::parse(slurp(first.folder / "status.json"));
  CHECK(status.at("save_s") == first.save_seconds);
  CHECK(status.at("other_s") == first.other_seconds);

  std::vector<std::string> longer = often;
  longer[0] = "train.max_steps=80";
  const RunOutcome second = train(t, longer, true);
  CHECK(second.save_seconds > first.save_seconds);
  const JournalData journal = read_journal(first.folder / "metrics.jsonl");
  for (const char* kind : {"train", "val"})
    for (const char* column : {"wall_s", "save_s", "other_s"}) {
      INFO(kind << " " << column);
      const std::vector<double>* v = journal.find(kind)->find(column);
      REQUIRE(v);
      CHECK(v->size() == journal.find(kind)->step.size());
      CHECK(std::ranges::is_sorted(*v));
    }
}
