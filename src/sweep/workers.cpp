#include "sweep/workers.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>

#include "base/clock.h"
#include "base/text.h"
#include "base/version.h"
#include "store/run_folder.h"
#include "sweep/forecast.h"
#include "sweep/job.h"
#include "sweep/settle.h"
#include "train/signals.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr auto kPause = std::chrono::milliseconds(10);
constexpr double kLook = 1;  // second

bool there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error);
}

// The work of this process.
class Workers {
 public:
  explicit Workers(const SweepRequest& r) : r_(r) {
    for (size_t i = 0; i < r.plan.runs.size(); ++i) {
      const std::string& name = r.plan.runs[i].name;
      std::error_code error;
      if (r.retry && !there(r.folder.result(name))) fs::remove(r.folder.failure(name), error);
      if (!ended(name)) waiting_.push_back(i);
    }
  }

  SweepOutcome run() {
    while (!stopping() && (!waiting_.empty() || !working_.empty())) {
      while (working_.size() < static_cast<size_t>(r_.jobs) && claim()) {
      }
      if (working_.empty() && !can_go_on()) break;
      wait();
    }
    for (Working& w : working_) w.job->stop();
    while (!working_.empty()) wait();
    std::erase_if(in_use_, [&](size_t i) { return ended(r_.plan.runs[i].name); });
    if (!stopping() && r_.plan.study.eval.baselines) baselines();
    return outcome();
  }

 private:
  struct Working {
    size_t run;
    std::unique_ptr<Job> job;
  };

  bool ended(const std::string& run) const { return there(r_.folder.result(run)) || there(r_.folder.failure(run)); }
  static bool stopping() { return Signals::stop_requested(); }

  // What has ended since may have settled which runs are wanted; now and then, as others end runs too.
  void settle() {
    if (seconds_now() < look_again_) return;
    look_again_ = seconds_now() + kLook;
    needs_ = needs_of(r_.folder, plan_);
    std::erase_if(waiting_, [&](size_t i) { return needs_[i] == Need::unwanted; });
  }

  // Whether something will come to be wanted: runs of another process are to end first, or were left and are taken
  // over.
  bool can_go_on() {
    if (waiting_.empty()) return false;
    if (std::ranges::any_of(waiting_, [&](size_t i) { return needs_[i] == Need::wanted; })) return true;
    if (std::ranges::none_of(waiting_, [&](size_t i) { return needs_[i] == Need::open; })) return false;
    for (const size_t i : in_use_)
      if (const std::string& name = r_.plan.runs[i].name; !ended(name) && !is_locked(r_.folder.work(name)))
        waiting_.push_front(i);
    std::erase_if(in_use_, [&](size_t i) { return std::ranges::find(waiting_, i) != waiting_.end(); });
    return true;
  }

  // Begins the next that waits and is wanted, unless another process has it, or has done it meanwhile; false where
  // there is none.
  bool claim() {
    settle();
    const auto next = std::ranges::find_if(waiting_, [&](size_t i) { return needs_[i] == Need::wanted; });
    if (next == waiting_.end()) return false;
    const size_t i = *next;
    waiting_.erase(next);
    begin(i);
    return true;
  }

  void begin(size_t i) {
    const PlannedRun& run = r_.plan.runs[i];
    try {
      auto job = std::make_unique<Job>(r_.plan, run, r_.folder, r_.threads);
      if (ended(run.name)) return;
      if (!r_.folder.keeps(run)) {
        if (r_.say) r_.say(run.name + ": left out, the study has changed meanwhile; call it again");
        in_use_.push_back(i);
        return;
      }
      job->start();
      working_.push_back({i, std::move(job)});
    } catch (const LockedError&) {
      in_use_.push_back(i);
    }
  }

  void wait() {
    std::erase_if(working_, [&](Working& w) {
      const auto end = w.job->poll(stopping());
      if (end) tell(w, *end);
      return end.has_value();
    });
    if (r_.show) r_.show(progress());
    std::this_thread::sleep_for(kPause);
  }

  void tell(const Working& w, JobEnd end) {
    const PlannedRun& run = r_.plan.runs[w.run];
    look_again_ = 0;
    if (end == JobEnd::in_use) in_use_.push_back(w.run);
    if (end == JobEnd::stopped) ++stopped_;
    if (end == JobEnd::done && r_.seconds[w.run] > 0) took_ += w.job->elapsed(), foreseen_ += r_.seconds[w.run];
    if (!r_.say) return;
    if (end == JobEnd::done) {
      const nlohmann::json j = read_object(r_.folder.result(run.name));
      r_.say(fmt::format("{}: {} {}, {} {}, in {}", run.name, r_.plan.chosen_on, score_text(j.at("chosen_on")),
                         r_.plan.study.eval.split, score_text(j.at("reported")), human_seconds(w.job->elapsed())));
    } else if (end == JobEnd::failed) {
      r_.say(failure_line(read_object(r_.folder.failure(run.name))));
    } else {
      r_.say(fmt::format(
          "{}: {}", run.name,
          end == JobEnd::stopped ? "stopped; it goes on when the study is called again" : "in use by another process"));
    }
  }

  std::string progress() {
    std::vector<double> left;
    double ratio = foreseen_ > 0 ? took_ / foreseen_ : 1;
    bool known = true;
    std::string running;
    for (const Working& w : working_) {
      const double all = ratio * r_.seconds[w.run];
      known = known && all > 0;
      left.push_back(std::max(0.0, all - w.job->elapsed()));
      running += fmt::format("{} {}", running.empty() ? "" : ",", r_.plan.runs[w.run].name);
      if (all > 0) running += fmt::format(" {:.0f} %", std::min(99.0, 100 * w.job->elapsed() / all));
    }
    for (const size_t i : waiting_) {
      if (!counts(r_.plan, needs_, i)) continue;
      known = known && r_.seconds[i] > 0;
      left.push_back(ratio * r_.seconds[i]);
    }
    const size_t all = r_.plan.count(), ended = all - std::min(all, left.size() + in_use_.size());
    if (working_.empty()) running = " waiting for those of another process";
    return fmt::format("{} of {} runs ended,{}{}", ended, all, running,
                       known ? fmt::format("; about {} left", human_seconds(makespan(left, r_.jobs))) : "");
  }

  // Of the text that is reported, once for the study: by the first run that is done, when all have ended.
  void baselines() {
    if (there(r_.folder.baselines()) || !in_use_.empty() || stopped_ > 0) return;
    const auto done =
        std::ranges::find_if(r_.plan.runs, [&](const PlannedRun& r) { return there(r_.folder.result(r.name)); });
    if (done == r_.plan.runs.end()) return;
    const fs::path work = r_.folder.work(done->name);
    std::unique_ptr<FileLock> lock;
    try {
      lock = std::make_unique<FileLock>(work);
    } catch (const LockedError&) {  // another process is at it
      return;
    }
    if (there(r_.folder.baselines())) return;
    const StudyEvalOptions& how = r_.plan.study.eval;
    std::vector<std::string> words = eval_words(how, r_.folder.run(done->name), how.split, r_.jobs * r_.threads);
    words.emplace_back("--no-training-choice");
    const double start = seconds_now();
    Child child(words, {.out = work / "baselines.json", .err = work / "log.txt"});
    while (!child.ended() && !stopping()) {
      if (r_.show) r_.show("n-gram models and compressors on the same text");
      std::this_thread::sleep_for(kPause);
    }
    if (child.ended() != 0)
      return stopping() || !r_.say ? void()
                                   : r_.say("n-gram models and compressors failed: " + (work / "log.txt").string());
    const nlohmann::json j = read_object(work / "baselines.json");
    nlohmann::json kept = {{"schema_version", 1}};
    for (const char* key : {"split", "corpus", "data", "bytes", "characters", "baselines", "left_out"})
      kept[key] = j.at(key);
    write_object(r_.folder.timing("baselines"), {{"run", "baselines"},
                                                 {"threads", r_.jobs * r_.threads},
                                                 {"host", host_name()},
                                                 {"ended_utc", utc_now()},
                                                 {"elapsed_s", seconds_now() - start}});
    write_object(r_.folder.baselines(), kept);
  }

  SweepOutcome outcome() const {
    SweepOutcome o;
    o.runs = r_.plan.count(), o.stopped = stopped_, o.interrupted = stopping();
    for (size_t i = 0; i < r_.plan.runs.size(); ++i) {
      const PlannedRun& run = r_.plan.runs[i];
      if (there(r_.folder.result(run.name))) {
        ++o.done;
      } else if (const auto f = read_object_if_there(r_.folder.failure(run.name))) {
        ++o.failed;
        o.failures.push_back(failure_line(*f));
        if (o.failed_code == 0)
          o.failed_code =
              f->at("exit_code").is_number() ? f->at("exit_code").get<int>() : 128 + f->at("signal").get<int>();
      } else if (std::ranges::find(in_use_, i) != in_use_.end()) {
        ++o.in_use;
      }
    }
    return o;
  }

  const SweepRequest& r_;
  const nlohmann::json plan_ = to_json(r_.plan);
  std::vector<Need> needs_ = needs_of(r_.folder, plan_);
  double look_again_ = 0;       // when runs of others may have settled more
  std::deque<size_t> waiting_;  // numbers of runs
  std::vector<size_t> in_use_;
  std::vector<Working> working_;
  size_t stopped_ = 0;
  double took_ = 0, foreseen_ = 0;  // seconds of those that are done
};

}  // namespace

SweepOutcome sweep(const SweepRequest& request) { return Workers(request).run(); }

std::string status_of(const StudyFolder& folder, const std::string& run) {
  if (there(folder.result(run))) return "done";
  if (there(folder.failure(run))) return "failed";
  if (is_locked(folder.work(run))) return "running";
  return there(folder.run(run)) ? "stopped" : "waiting";
}

std::string score_text(const nlohmann::json& score) {
  if (const auto accuracy = score.find("accuracy"); accuracy != score.end())  // of a task
    return fmt::format("accuracy {:.4f}", accuracy->get<double>());
  const bool chars = score.at("bits_per_char").is_number();
  return fmt::format("{}{:.4f} bits/{}", score.at("bound") == true ? "<= " : "",
                     score.at(chars ? "bits_per_char" : "bits_per_byte").get<double>(), chars ? "char" : "byte");
}

std::string failure_line(const nlohmann::json& f) {
  const auto& lines = f.at("last_lines");
  const bool exited = f.at("exit_code").is_number();
  return fmt::format("{}: {} ended {} {}{}", f.at("run").get<std::string>(), f.at("stage").get<std::string>(),
                     exited ? "with exit code" : "by signal", f.at(exited ? "exit_code" : "signal").get<int>(),
                     lines.empty() ? "" : ": " + lines.back().get<std::string>());
}

}  // namespace effllm
