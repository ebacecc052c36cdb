// The runs of a folder, each by what its files say of it: nothing is loaded, and no run is disturbed.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace effllm {

// What is not recorded is empty: an evaluation that has not been, or files of an earlier version.
struct RunSummary {
  std::string name;
  std::string status;  // running, done, interrupted, failed; grown: not gone on yet; killed: without a word; damaged:
                       // see `problem`
  std::optional<double> best_loss, train_loss;  // nats per token: of the best evaluation, of late steps
  bool bound = false, train_bound = false;      // they are upper bounds, estimated
  std::optional<int64_t> parameters, step, tokens;
  // What the losses belong to: they compare only where all of it is the same. Empty where it is not recorded.
  std::string corpus;                             // as its manifest is called
  std::string data_hash;                          // CorpusIdentity::hash()
  std::string tokenizer;                          // what a token is: byte, char
  std::string split, protocol;                    // that the best loss was evaluated on and by
  std::optional<int64_t> context;                 // train.context
  std::optional<int64_t> eval_tokens;             // of a window: eval.tokens, or as long as the context
  std::optional<int64_t> eval_stride;             // eval.stride; empty also where the protocol's own is taken
  std::optional<int64_t> eval_max_tokens;         // eval.max_tokens; 0: the whole split
  std::string reset;                              // data.reset
  std::optional<double> wall_s, save_s, other_s;  // of steps, of checkpoints and files, of all else
  std::optional<double> progress;                 // 1 at the horizon
  std::string problem;                            // which file is damaged, and how
};

struct RunList {
  std::vector<RunSummary> runs;                                  // by name
  std::vector<std::pair<std::string, std::string>> passed_over;  // folders that are no runs, and why
};

// DataError where there is no such folder, IoError where it can't be listed. Runs that are damaged are in the list.
RunList list_runs(const std::filesystem::path& folder);

}  // namespace effllm
