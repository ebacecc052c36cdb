// Of commands that look at runs, compare them and measure speed.
#include <CLI/CLI.hpp>

#include "cli_options.h"
#include "cli_validators.h"
#include "config/options.h"

namespace effllm::app {

void declare_plot(CLI::App& app, PlotArgs& a) {
  app.add_option("runs", a.runs, "Names the run folders.")->required();
  one_each(app.add_option(
      "-m,--metric", a.metrics,
      "Draws this metric, such as train/loss (repeatable). train/loss and val/loss share a panel, train/lr has "
      "one of its own (default: bpc of training and evaluations, bpb of text that is not UTF-8)."));
  app.add_option("-x", a.x, "Chooses the x axis: step, tokens or wall_s, which is seconds.")
      ->capture_default_str()
      ->check(one_of({"step", "tokens", "wall_s"}));
  app.add_option("--width", a.width, "Sets the width in characters (default: the terminal's).")
      ->check(integer(24, 1000));
  app.add_option("--height", a.height, "Sets the height in lines.")->capture_default_str()->check(integer(3, 200));
  app.add_flag("--ascii", a.ascii, "Draws without braille characters.");
  app.add_flag("--log", a.log_y, "Makes the y axis logarithmic.");
  app.add_option("--color", a.colour,
                 "Colours curves: always, never, or with auto on a terminal unless NO_COLOR is set.")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "always", "never"}));
}

void declare_sweep(CLI::App& app, SweepArgs& a) {
  app.add_option("study", a.study, "Gives the study, a YAML file (docs/studies.md).");
  one_each(app.add_option("--set", a.set, "Overrides a key of the base, below what arms say of it (repeatable)."));
  app.add_option("-o,--output", a.folder, "Names the folder of the study (default: studies/NAME).");
  app.add_option(
         "--jobs", a.jobs,
         "Sets how many runs train at once (default: one for each CPU, or for so many as --threads gives each).")
      ->check(positive());
  app.add_flag("--confirm", a.confirm,
               "Trains held-out seeds of what was chosen, as many as the study's `confirm`, to judge its claims by.");
  app.add_option(
         "--launcher", a.launcher,
         "Chooses where runs train: local, on this machine, or slurm, in an array of --jobs jobs (default then: "
         "one for each run), each with --threads threads (default then: 1).")
      ->capture_default_str()
      ->check(CLI::IsMember({"local", "slurm"}));
  app.add_option("--slurm", a.slurm, "Gives further options of sbatch, such as '--partition=cpu --time=2:00:00'.");
  app.add_flag("--retry", a.retry, "Starts again what failed before.");
  app.add_flag("--dry-run", a.dry_run, "Checks everything, shows arms and the time it would take, and writes nothing.");
}

void declare_compare(CLI::App& app, CompareArgs& a) {
  app.add_option("folder", a.folder, "Names the folder of a study.")->required();
  app.add_option("--baseline", a.baseline, "Chooses the arm that others are held against (default: the first).");
  CLI::Option* markdown = app.add_flag("--markdown", a.markdown, "Prints a Markdown table.");
  CLI::Option* csv =
      app.add_flag("--csv", a.csv, "Prints comma-separated values, with all digits.")->excludes(markdown);
  app.add_flag("--latex", a.latex, "Prints a LaTeX table, for the package booktabs.")
      ->excludes(markdown)
      ->excludes(csv);
}

void declare_report(CLI::App& app, ReportArgs& a) {
  app.add_option("folder", a.folder, "Names the folder of a study.")->required();
  app.add_option("-o,--output", a.file, "Names the file to write (default: report.html in the study's folder).");
  app.add_option("--baseline", a.baseline, "Chooses the arm that others are held against (default: the first).");
}

void declare_format(CLI::App& app, BenchFormat& f) {
  CLI::Option* markdown = app.add_flag("--markdown", f.markdown, "Prints a Markdown table.");
  app.add_flag("--csv", f.csv, "Prints comma-separated values.")->excludes(markdown);
}

void declare_bench_train(CLI::App& app, BenchArgs& a) {
  app.add_option("-c,--config,config", a.config, "Gives the configuration, a YAML file.")->required();
  one_each(app.add_option("--set", a.set, "Overrides a key (repeatable)."));
  app.add_option("--repetitions", a.repetitions, "Takes at least so many steps.")
      ->capture_default_str()
      ->check(positive());
  app.add_option("--seconds", a.seconds, "Takes at least so many seconds.")->capture_default_str()->check(seconds());
  CLI::Option* profile = app.add_flag("--profile", a.profile, "Shows time, FLOPs and bytes of every op.");
  CLI::Option* trace =
      app.add_option("--trace", a.trace, "Writes a trace of five steps for chrome://tracing or Perfetto to this file.");
  app.add_option("--save-inputs", a.save_inputs, "Writes initial weights and batches to this safetensors file.");
  app.add_flag("--follow", a.follow, "Runs on request: lines `steps N` or `probe` on stdin, a line of JSON for each.")
      ->excludes(profile)
      ->excludes(trace);
  declare_format(app, a.format);
}

void declare_bench_decode(CLI::App& app, DecodeArgs& a) {
  app.add_option("models", a.models, "Names configurations, run folders or checkpoints.")->required();
  one_each(app.add_option("--set", a.set, "Overrides a key of the configurations (repeatable)."));
  app.add_option("-d,--depths", a.depths, "Sets after how many tokens it is measured, such as 0,256,1024,4096.")
      ->delimiter(',')
      ->check(integer(0, static_cast<int64_t>(kMostTokens)))
      ->capture_default_str();
  app.add_option("-n,--tokens", a.tokens, "Sets how many tokens are decoded at a time.")
      ->capture_default_str()
      ->check(integer(1, 1 << 20));
  app.add_option("-r,--repetitions", a.repetitions, "Sets how often, from the same place each time.")
      ->capture_default_str()
      ->check(integer(1, 1 << 20));
  declare_format(app, a.format);
}

void declare_bench_speculate(CLI::App& app, SpeculateArgs& a) {
  app.add_option("model", a.model, "Names the run folder or checkpoint that writes.")->required();
  app.add_option("draft", a.draft,
                 "Names the one that drafts, with the same tokenizer; ngram looks up what is repeated.")
      ->required();
  app.add_option("--draft-tokens", a.draft_tokens, "Sets how many tokens are drafted at a time, such as 1,2,4,8.")
      ->delimiter(',')
      ->check(integer(1, 1024))
      ->capture_default_str();
  app.add_option("-p,--prompt", a.prompt, "Gives the text to continue (\\n, \\t, \\r, \\\\ are understood).");
  app.add_option("-n,--tokens", a.tokens, "Sets how many tokens are written each time.")
      ->capture_default_str()
      ->check(integer(2, 1 << 20));
  app.add_option("-r,--repetitions", a.repetitions, "Sets how often: other texts each time.")
      ->capture_default_str()
      ->check(integer(1, 1 << 20));
  app.add_option("-t,--temperature", a.temperature, "Divides the logits; 0 takes the likeliest token.")
      ->capture_default_str();
  app.add_option("--seed", a.seed, "Seeds the random numbers.")->capture_default_str();
  declare_format(app, a.format);
}

void declare_bench_list(CLI::App& app, BenchListArgs& a) {
  app.add_option("only", a.only, "Takes only those whose name holds this.");
  app.add_option("--seconds", a.seconds, "Measures each for at least so many seconds.")
      ->capture_default_str()
      ->check(seconds());
  declare_format(app, a.format);
}

}  // namespace effllm::app
