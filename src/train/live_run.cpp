#include "train/live_run.h"

namespace effllm {
namespace {

Experiment read(RunConfig config, RunLog& log) {
  log.terminal.phase("reading the corpus, building the model");
  return Experiment(std::move(config));
}

}  // namespace

LiveRun::LiveRun(RunConfig config, bool quiet) : log(quiet), x(read(std::move(config), log)) {}

}  // namespace effllm
