// What a checkpoint says of its run: what the weights belong to, and how far the run is. Metadata of the file, read
// and checked in one place.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "data/corpus_identity.h"
#include "data/tokenizer.h"
#include "train/run_config.h"

namespace effllm {

struct RunTimes {
  double seconds = 0;                          // of training steps
  double save_seconds = 0, other_seconds = 0;  // of checkpoints and files; of all the rest since the program began
};

struct RunCounters : RunTimes {
  int64_t step = 0, optimizer_steps = 0, skipped_in_row = 0;
  int64_t tokens = 0;       // trained on
  int64_t samples = 0;      // rows taken from the order of the data: where it goes on
  int64_t first_batch = 1;  // rows of a step at the run's start (BatchShape)
  double flops = 0;
  double best_val = std::numeric_limits<double>::quiet_NaN();  // nats per token; NaN: nothing was evaluated
  int64_t best_step = -1;
  double shown_loss = 0;    // smoothed, of the status line
  double row_loss_sum = 0;  // of the journal's row that is not full yet
  int64_t row_loss_count = 0;

  // Names each once, for reading and writing.
  template <class V>
  void visit(V&& v);
};

// Whose weights a run started with.
struct Origin {
  std::string checkpoint, parameters_sha256;
  int64_t step = 0;
};

struct RunRecord {
  int version = kCheckpointVersion;  // of the format
  // The format version at the run's start: options that its configuration doesn't name keep the defaults of that day.
  int defaults = kCheckpointVersion;
  RunConfig config;
  std::string vocab;  // of the tokenizer, JSON
  CorpusIdentity corpus;
  std::string corpus_name;         // as its manifest calls it; empty: not recorded
  std::filesystem::path manifest;  // where that was; the same
  std::string earlier_data;        // what it was trained on before, where somebody allowed a change: a line each
  std::string grown;               // from what the model was made larger: a line each time
  std::optional<Origin> origin;    // of a run that started with weights of another
  int64_t step = 0;
  std::optional<RunCounters> counters;  // weights that were exported have none
};

std::map<std::string, std::string> to_metadata(const RunRecord& record);
// The same with what wrote it and when, and digests of the experiment and of its parameters.
std::map<std::string, std::string> to_metadata(const RunRecord& record, const ParamStore& params);
// CheckpointError, naming file and field, where one is missing, of another type, out of range or contradicts another.
// What format version 1 did not record is unset; its place in the data was the step times the batch.
RunRecord read_record(const SafetensorsFile& file, const std::string& path);
std::unique_ptr<Tokenizer> stored_tokenizer(const RunRecord& record, const std::string& path);
// What to tell the user of a record that lacks something; empty where it lacks nothing.
std::string not_recorded(const RunRecord& record, const std::string& path);

}  // namespace effllm
