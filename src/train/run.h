// A whole training run: folder, journal, checkpoints, evaluations, samples. It heeds what Signals were asked for.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "data/batches.h"
#include "eval/evaluator.h"
#include "io/journal.h"
#include "io/run_folder.h"
#include "train/guess_watch.h"
#include "train/memory_plan.h"
#include "train/refresh_budget.h"
#include "train/run_record.h"
#include "train/step_patience.h"
#include "train/trainer.h"

namespace effllm {

constexpr double kStepPatience = 5;

struct RunRequest {
  RunConfig config;
  std::string config_text;                 // as written, for the folder
  std::vector<std::string> overrides;      // assignments of the command line, the same
  std::filesystem::path config_file = {};  // that `config_text` was read from; empty: it is kept as it is
  std::vector<std::string> notes = {};     // what the user should know of them: said at the start, kept as events
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
  const RunConfig& config() const { return config_; }  // with what was chosen
  const Corpus& corpus() const { return corpus_; }
  const MemoryPlan& memory() const { return memory_; }
  LanguageModel& model() { return *model_; }
  const RunFolder& folder() const { return folder_; }

 private:
  void write_start_files();
  void take_folder();
  void build_trainer();
  struct Newest {  // the checkpoint that the run goes on from
    std::filesystem::path path;
    SafetensorsFile file;
    RunRecord record;
  };
  // None where the run was killed before its first checkpoint, or is new.
  std::optional<Newest> open_newest();
  void require_same_data(const Newest& newest);
  void resume_from(const Newest& newest);  // into the model and all that trains it
  void tell_changes(const RunConfig& before);
  void forget_other_best(const RunRecord& then);
  std::optional<Newest> open_other();    // the checkpoint of request_.from
  void start_from(const Newest& other);  // with its weights alone
  void note(std::string text);           // said now, and kept as an event once there is a journal
  void mark_best_again();
  double epochs() const;
  Spent spent() const;
  void lap(double& account);  // adds the time since the last lap
  double progress() const;
  bool step_once();               // false: it was given up, because somebody asked the run to stop
  void skip(const Batch& batch);  // after a step that was not finite: says where, ends the run after too many
  void log_row();
  void run_steps();  // to the horizon, or to a signal
  void finish();
  void evaluate_now();
  void save();
  void sample_now();
  void write_status(std::string_view status);
  void write_metrics(std::string_view status);  // metrics.h5, from the whole journal
  void say(const std::string& line);            // to the terminal and log.txt
  std::string status_text() const;
  std::string best_bits() const;

  RunRequest request_;
  RunConfig& config_;
  Corpus corpus_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TokenizedText train_text_, val_text_;
  MemoryPlan memory_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<BatchOrder> order_;
  RunFolder folder_;
  std::unique_ptr<FileLock> lock_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<AppendFile> log_;
  StatusLine terminal_;
  StepPatience patience_;
  RefreshBudget metrics_budget_{0.01};
  double lapped_;  // seconds of the clock, of the last lap
  std::optional<GuessWatch> guess_;
  RunCounters at_;
  int defaults_ = kCheckpointVersion;  // as in RunRecord
  std::string earlier_data_;           // as there
  std::optional<Origin> origin_;       // as there
  std::optional<int64_t> aside_;       // step whose checkpoint was the last of another model, or on other data
  bool measured_anew_ = false;         // evaluations are by other means than before, or on other data
  bool other_model_ = false;           // since it was resumed, because somebody allowed it
  std::string provenance_;             // JSON
  double flops_per_token_ = 0;
  double tokens_per_character_ = 1, tokens_per_byte_ = 1;  // of the training split: the loss is of a token
  // Since the last row of the journal.
  double row_seconds_ = 0, last_lr_ = 0, last_norm_ = 0;
  double saved_at_ = 0;  // seconds of the clock, of the last checkpoint
  int64_t row_tokens_ = 0;
  int64_t saved_step_ = -1, saved_best_ = -1, evaluated_step_ = -1;
  int64_t journaled_step_ = -1;  // of the last evaluation that the journal held when the run was resumed
  bool interrupted_ = false, said_context_ = false;
  std::optional<EvalResult> last_eval_;
};

}  // namespace effllm
