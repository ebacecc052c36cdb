#include <fmt/format.h>

#include <cmath>

#include "base/json.h"
#include "base/limits.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "model/describe.h"
#include "overrides.h"
#include "run_place.h"
#include "shared.h"
#include "store/file.h"
#include "train/run.h"
#include "train/signals.h"

namespace effllm::app {
namespace {

// What would run, after all that the run itself says and refuses before its first step.
void dry_run(const Common& common, RunRequest request) {
  request.dry = true;
  Run run(std::move(request));
  run.announce();
  const RunConfig& c = run.config();
  const int64_t vocab = run.model().vocab();
  const ModelCost cost = count_cost(c.model, vocab, c.train.context, c.train.recomputes());
  const std::string yaml = to_yaml(write_run_config(c));
  if (common.json) {
    const nlohmann::json j = {{"config_yaml", yaml},
                              {"corpus", run.corpus().manifest().name},
                              {"parameters", cost.total.parameters},
                              {"tokens_per_step", c.train.batch * c.train.context},
                              {"lanes", c.train.lanes},
                              {"train_flops_per_token", cost.total.train_flops},
                              {"training_bytes", run.memory().total()},
                              {"memory_bytes", memory_limit()}};
    print_json(j);
    return;
  }
  fmt::print("{}", yaml);
  print_stderr(fmt::format("would train {} on {} ({}, {} a step in {}, {} FLOPs a token), about {} of {} memory\n",
                           human_counted(static_cast<double>(cost.total.parameters), "parameter"),
                           run.corpus().manifest().name, c.data.task ? "a sample a row" : c.data.order.name(),
                           counted(c.train.batch * c.train.context, "token"), counted(c.train.lanes, "lane"),
                           human_count(cost.total.train_flops), human_bytes(run.memory().total()),
                           human_bytes(memory_limit())));
}

}  // namespace

ExitCode train(const Common& common, const TrainArgs& given_args) {
  const TrainArgs args = with_place(given_args);
  const Overrides given = overrides_of(args);
  RunRequest request{.config = load_run_config(args.config, given.set, args.name),
                     .written = {.text = read_file(args.config, 1 << 20), .overrides = given.set, .file = args.config},
                     .notes = given.notes,
                     .runs = args.runs,
                     .resume = args.resume == "auto",
                     .allow_other_data = args.allow_other_data,
                     .allow_other_model = args.allow_other_model,
                     .from = args.from,
                     .quiet = common.quiet};
  const std::string split = request.config.eval.split;
  prepare_threads();
  if (args.dry_run) {
    dry_run(common, std::move(request));
    return ExitCode::ok;
  }
  // From before anything starts a thread to the end of the process: one that comes while it loads counts, and one that
  // comes when all is saved does not turn success into failure.
  [[gnu::used]] static const auto* const signals =
      new Signals(common.quiet ? ""
                               : fmt::format("\nstopping with a checkpoint: a step that would take more than {:.0f} s "
                                             "longer is given up; Ctrl-C again ends at once, without one\n",
                                             kStepPatience));
  Run run(std::move(request));
  const RunOutcome done = run.train();
  const std::string folder = done.folder.string();
  if (common.json) {
    nlohmann::json j = {{"run", folder},
                        {"steps", done.steps},
                        {"tokens", done.tokens},
                        {"wall_s", done.seconds},
                        {"save_s", done.save_seconds},
                        {"other_s", done.other_seconds},
                        {"interrupted", done.interrupted},
                        {"bound", done.bound},
                        {"unit", "nats/token"}};
    j["best_" + split] = std::isfinite(done.best_val) ? nlohmann::json(done.best_val) : nlohmann::json();
    print_json(j);
  } else {
    fmt::print("{}: {}, {} in {}, and {} beside the steps", folder, counted(done.steps, "step"),
               human_counted(static_cast<double>(done.tokens), "token"), human_seconds(done.seconds),
               human_seconds(done.save_seconds + done.other_seconds));
    if (std::isfinite(done.best_val))
      fmt::print("; best {} loss {}{:.4f} nats/token{}{}", split, done.bound ? "<= " : "", done.best_val,
                 done.best_bits.empty() ? "" : ", ", done.best_bits);
    fmt::print("\n");
  }
  if (done.interrupted) return ExitCode::interrupted;
  if (!common.quiet)
    print_stderr(fmt::format("next:  {0} eval {1} --split {2}   {0} plot {1}{3}\n", shell_word(common.program),
                             shell_word(folder), done.next_split,
                             run.corpus().task()
                                 ? ""
                                 : fmt::format("   {} generate {}{}", shell_word(common.program), shell_word(folder),
                                               done.prompt.empty() ? "" : " -p " + shell_word(done.prompt))));
  return ExitCode::ok;
}

}  // namespace effllm::app
