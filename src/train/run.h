// A whole training run: folder, journal, checkpoints, evaluations, samples. It heeds what Signals were asked for.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "train/checkpoints.h"
#include "train/progress_line.h"
#include "train/run_resume.h"
#include "train/run_step.h"
#include "train/samples.h"
#include "train/train_rows.h"

namespace effllm {

constexpr double kStepPatience = 5;

struct RunRequest {
  RunConfig config;
  WrittenConfig written;                // for the folder
  std::vector<std::string> notes = {};  // what the user should know of them: said at the start, kept as events
  std::filesystem::path runs = "runs";
  bool resume = false;              // go on from the newest checkpoint of the folder, or start
  bool allow_other_data = false;    // also where it was trained on another corpus
  bool allow_other_model = false;   // also where its weights belong to another model
  std::filesystem::path from = {};  // run folder or checkpoint whose weights a new run starts with; empty: none
  bool dry = false;                 // up to the first step and no further: nothing is written
  bool quiet = false;
  double patience = kStepPatience;  // seconds that a step may still take when the run is asked to stop
};

struct RunOutcome {
  std::filesystem::path folder;
  int64_t steps = 0, tokens = 0;
  double seconds = 0;                          // of training steps
  double save_seconds = 0, other_seconds = 0;  // of checkpoints and files; of all the rest since the program began
  bool interrupted = false;                    // stopped by a signal, with a checkpoint
  double best_val = 0;                         // nats per token; NaN where nothing was evaluated
  bool bound = false;                          // true: an upper bound
  std::string best_bits;   // the same as "1.2345 bits/char"; empty where this process evaluated nothing
  std::string prompt;      // that suits the corpus; may be empty
  std::string next_split;  // to evaluate on: test, where the corpus has one
};

class Run {
 public:
  // Opens the corpus, builds the model, takes the folder's lock, and loads the newest checkpoint where it resumes. One
  // that is dry says and refuses the same and leaves everything as it is; without a checkpoint to go on from it takes
  // no memory for weights. It can't be trained.
  explicit Run(RunRequest request);
  ~Run();
  void announce();  // what is trained from where; train() begins with it
  RunOutcome train();
  const RunConfig& config() const { return run_.x.config; }  // with what was chosen
  const Corpus& corpus() const { return run_.x.corpus; }
  const MemoryPlan& memory() const { return run_.x.memory; }
  LanguageModel& model() { return *run_.x.model; }
  const RunFolder& folder() const { return run_.folder; }

 private:
  void take_folder();
  void build();
  void write_start_files();
  bool train_steps();  // to the horizon: true; or to a signal
  void finish(bool interrupted, bool trained);
  RunOutcome outcome(bool interrupted) const;

  RunRequest request_;  // without its configuration, which moved to run_
  LiveRun run_;
  std::unique_ptr<FileLock> lock_;
  RunFiles files_{run_};
  // What looks at it after each step, in this order.
  GuessWarning guess_{run_};
  ProgressLine line_{run_};
  TrainRows rows_{run_};
  Evaluations evaluations_{run_, guess_.watch()};
  SampleTexts samples_{run_};
  Checkpoints checkpoints_{run_, files_, evaluations_};
  const std::array<Observer*, 6> observers_{&guess_, &line_, &rows_, &evaluations_, &samples_, &checkpoints_};
};

}  // namespace effllm
