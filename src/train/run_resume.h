// How a run goes on from its newest checkpoint, if that is of the same run, and how a new one starts with the weights
// of another.
#pragma once
#include <filesystem>
#include <optional>

#include "train/live_run.h"
#include "train/run_changes.h"

namespace effllm {

struct RunRequest;

struct StoredRun {
  std::filesystem::path path;
  SafetensorsFile file;
  RunRecord record;
};

// What is new with a run that goes on.
struct Resumed {
  bool other_model = false, other_data = false;  // because somebody allowed it
  bool measured_anew = false;                    // evaluations are by other means than before, or on other data
  int64_t journaled = -1;                        // step of the last evaluation that the journal holds
};

// The newest checkpoint of the run's folder; none where it was killed before its first, or is new. CheckpointError and
// DataError, which name what differs, where it is not of this run; the options that its configuration does not name
// take the defaults of its day.
std::optional<StoredRun> open_newest(LiveRun& run, const RunRequest& request);
// Into the built model and all that trains it; `writes`: into the journal too.
Resumed resume_from(LiveRun& run, const StoredRun& newest, bool writes);

// The checkpoint whose weights a new run starts with (RunRequest::from), if any.
std::optional<StoredRun> open_other(LiveRun& run, const RunRequest& request);
void start_from(LiveRun& run, const StoredRun& other);

}  // namespace effllm
