#include "cli.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <limits>

#include "base/terminal.h"
#include "base/text.h"
#include "base/version.h"
#include "cli_errors.h"
#include "cli_options.h"
#include "cli_validators.h"
#include "config/options.h"
#include "help.h"
#include "kernels/parallel.h"

namespace effllm::app {
namespace {

// Many more threads than CPUs only wait for each other.
void choose_threads(int given) {
  const char* variable = std::getenv("EFFLLM_THREADS");
  if (given == 0 && variable && *variable) {
    const std::string wrong = positive()(variable);
    if (!wrong.empty()) throw ConfigError("EFFLLM_THREADS {}", wrong);
    given = static_cast<int>(std::min<int64_t>(std::atoll(variable), std::numeric_limits<int>::max()));
  }
  const int most = 8 * available_cpus();
  if (given > most)
    print_stderr(
        fmt::format("warning: {} threads on {}: {} are taken\n", given, counted(available_cpus(), "CPU"), most));
  if (given > 0) set_threads(std::min(given, most));
  threads();
}

}  // namespace

ExitCode run_command_line(int argc, char** argv) {
  CLI::App app("Trains and evaluates small efficient language models on a CPU.", "effllm");
  wrap_help(app);
  app.require_subcommand(0, 1);
  app.set_help_flag("-h,--help", "Prints this help.");
  app.set_version_flag("--version", build_info().version, "Prints the version.");
  Common common;
  common.program = argc > 0 ? argv[0] : "effllm";
  std::function<ExitCode()> chosen;
  const auto command = [&](CLI::App& parent, const std::string& name, const std::string& help, auto run) {
    CLI::App* sub = parent.add_subcommand(name, help);
    sub->add_flag("--json", common.json, "Prints results as JSON.");
    sub->add_flag("-q,--quiet", common.quiet, "Shows no progress.");
    sub->add_option("--threads", common.threads, "Sets the number of threads (default: all that the process may use).")
        ->check(positive());
    sub->callback([&chosen, run] { chosen = run; });
    return sub;
  };

  TrainArgs train_args;
  declare_train(*command(app, "train", "Trains a model.", [&] { return train(common, train_args); }), train_args);
  EvalArgs eval_args;
  declare_eval(*command(app, "eval", "Evaluates a trained model.", [&] { return eval(common, eval_args); }), eval_args);
  GenerateArgs generate_args;
  declare_generate(*command(app, "generate", "Continues a text.", [&] { return generate(common, generate_args); }),
                   generate_args);

  ServeArgs serve_args;
  declare_serve(*command(app, "serve", "Answers requests of other programs for completions, over HTTP.",
                         [&] { return serve(common, serve_args); }),
                serve_args);

  ListArgs list_args;
  CLI::App* list_command =
      command(app, "list", "Lists what a configuration may name.", [&] { return list(common, list_args); });
  list_command->add_option(
      "kind", list_args.kind,
      "Chooses the list: mixers, ffns, blocks, crosses, projections, options, studies, objectives, optimizers, "
      "schedules, orders, tokenizers, tasks, protocols.");
  list_command->add_flag("--long", list_args.details, "Adds options, papers, deviations and waivers.");
  list_command->add_flag("--markdown", list_args.markdown, "Prints a Markdown table.");

  DescribeArgs describe_args;
  CLI::App* describe_command = command(app, "describe", "Shows layers, parameters, FLOPs and state of a model.",
                                       [&] { return describe(common, describe_args); });
  describe_command->add_option("model", describe_args.model, "Names a configuration, a run folder or a checkpoint.")
      ->required();
  one_each(
      describe_command->add_option("--set", describe_args.set, "Overrides a key of the configuration (repeatable)."));
  describe_command->add_flag("--parameters", describe_args.parameters,
                             "Lists every parameter with shape, decay and learning rate.");

  CheckArgs check_args;
  CLI::App* check_command =
      command(app, "check", "Checks configurations without running them.", [&] { return check(common, check_args); });
  check_command->add_option("configs", check_args.configs, "Names the configurations, YAML files.")->required();
  one_each(check_command->add_option("--set", check_args.set, "Overrides a key (repeatable)."));

  VerifyArgs verify_args;
  declare_verify(*command(app, "verify", "Proves that all forms of a model agree: whole, cut, token by token and more.",
                          [&] { return verify(common, verify_args); }),
                 verify_args);

  RunsArgs runs_args;
  command(app, "runs", "Shows a table of runs: loss, parameters, tokens, time, status.",
          [&] { return runs(common, runs_args); })
      ->add_option("--runs", runs_args.runs, "Says which folder holds the run folders.")
      ->capture_default_str();

  PlotArgs plot_args;
  declare_plot(*command(app, "plot", "Draws curves of runs in the terminal.", [&] { return plot(common, plot_args); }),
               plot_args);
  command(app, "doctor", "Shows what this machine can do, and whether the program works on it.",
          [&] { return doctor(common); });

  CLI::App* bench = app.add_subcommand("bench", "Measures speed, as a ratio to what this machine can do.");
  bench->require_subcommand(0, 1);
  BenchArgs bench_args;
  declare_bench_train(
      *command(*bench, "train", "Measures a training step against the f32 1024^3 product of the same run.",
               [&] { return bench_train(common, bench_args); }),
      bench_args);
  BenchFormat roofline_format;
  declare_format(*command(*bench, "roofline", "Measures what this machine can do: products, memory, barriers.",
                          [&] { return bench_roofline(common, roofline_format); }),
                 roofline_format);
  DecodeArgs decode_args;
  declare_bench_decode(*command(*bench, "decode", "Measures decoding one sequence after so many tokens, and its state.",
                                [&] { return bench_decode(common, decode_args); }),
                       decode_args);
  SpeculateArgs speculate_args;
  declare_bench_speculate(
      *command(*bench, "speculate", "Measures speculative decoding beside what it should come to, and plain decoding.",
               [&] { return bench_speculate(common, speculate_args); }),
      speculate_args);
  BenchListArgs ops_args, mixers_args;
  declare_bench_list(*command(*bench, "ops", "Measures single ops, forward and backward, on all threads.",
                              [&] { return bench_ops(common, ops_args); }),
                     ops_args);
  CLI::App* bench_mixers_command =
      command(*bench, "mixers", "Measures every mixer and channel mixer: forward, backward, one decoded token.",
              [&] { return bench_mixers(common, mixers_args); });
  declare_bench_list(*bench_mixers_command, mixers_args);
  bench_mixers_command->add_option("--width", mixers_args.width, "Sets the model width.")
      ->capture_default_str()
      ->check(positive());
  bench_mixers_command->add_option("--batch", mixers_args.batch, "Sets the sequences of a thread.")
      ->capture_default_str()
      ->check(positive());
  bench_mixers_command->add_option("--tokens", mixers_args.tokens, "Sets the tokens of a sequence.")
      ->capture_default_str()
      ->check(positive());
  bench_mixers_command->add_flag("--variants", mixers_args.variants, "Adds the variants that the tests run.");

  SweepArgs sweep_args;
  std::string status_folder;
  CLI::App *sweep_command = nullptr, *status_command = nullptr;
  sweep_command = command(app, "sweep", "Trains every run of a study, and scores it.", [&] {
    if (status_command->parsed()) return sweep_status(common, status_folder);
    if (sweep_args.study.empty()) throw ConfigError("a study is missing: effllm sweep STUDY.yaml");
    return sweep(common, sweep_args);
  });
  declare_sweep(*sweep_command, sweep_args);
  sweep_command->require_subcommand(0, 1);
  status_command = command(*sweep_command, "status", "Shows what became of the runs of a study.",
                           [&] { return sweep_status(common, status_folder); });
  status_command->add_option("folder", status_folder, "Names the folder of the study.")->required();
  CompareArgs compare_args;
  declare_compare(*command(app, "compare", "Shows the arms of a study in a table, with verdicts.",
                           [&] { return compare(common, compare_args); }),
                  compare_args);
  ReportArgs report_args;
  declare_report(*command(app, "report", "Writes a page that shows a study: verdicts, pictures, settings.",
                          [&] { return report(common, report_args); }),
                 report_args);

  GrowArgs grow_args;
  CLI::App* grow_command = command(app, "grow", "Makes a trained model larger, from which training goes on.",
                                   [&] { return grow(common, grow_args); });
  grow_command->add_option("model", grow_args.model, "Names a run folder or a checkpoint.")->required();
  one_each(grow_command
               ->add_option("--set", grow_args.set,
                            "Sets tokens of pattention: --set 'model.layers[*].ffn.tokens=768' (repeatable; [*] is "
                            "every layer).")
               ->required());
  grow_command->add_option("-o,--output", grow_args.folder, "Names the run folder to write.")->required();

  ExportArgs export_args;
  CLI::App* export_command = command(app, "export", "Writes weights alone, or a tokenizer, for other programs.",
                                     [&] { return export_run(common, export_args); });
  export_command->add_option("model", export_args.model, "Names a run folder or a checkpoint.")->required();
  export_command->add_option("-o,--output", export_args.folder, "Names the folder to write.")->required();
  export_command
      ->add_option("--format", export_args.format,
                   "Chooses what is written: weights, or the tokenizer as a file of Hugging Face's libraries.")
      ->capture_default_str()
      ->check(one_of({"weights", "tokenizer"}));
  export_command->add_flag("--force", export_args.force, "Replaces what was exported there.");

  CLI::App* data = app.add_subcommand("data", "Makes and shows corpora.");
  data->require_subcommand(0, 1);
  PrepareArgs prepare_args;
  CLI::App* prepare =
      command(*data, "prepare", "Makes a corpus of a text file.", [&] { return prepare_data(common, prepare_args); });
  prepare->add_option("file", prepare_args.file, "Names the text file.")->required();
  prepare->add_option("--name", prepare_args.name, "Names the corpus (default: as the file is called).");
  prepare->add_option("--data", prepare_args.folder, "Names the folder of manifests.")->capture_default_str();
  prepare->add_option("--train", prepare_args.train, "Sets the fraction to train on.")->capture_default_str();
  prepare->add_option("--val", prepare_args.val, "Sets the fraction to validate on; the rest is the test split.")
      ->capture_default_str();
  prepare->add_flag("--force", prepare_args.force,
                    "Replaces a corpus of that name that has another text or other splits.");
  prepare->add_option("--separator", prepare_args.separator,
                      "Separates documents: one starts after each occurrence (\\n, \\t, \\r, \\\\ are understood).");
  std::string shown_corpus;
  command(*data, "show", "Shows sizes and splits of a corpus.", [&] { return show_data(common, shown_corpus); })
      ->add_option("corpus", shown_corpus, "Names a manifest, or gives a path to one.")
      ->required();
  SampleArgs sample_args;
  CLI::App* samples = command(*data, "samples", "Shows samples of a task, and which of their targets are scored.",
                              [&] { return show_samples(common, sample_args); });
  samples->add_option("config", sample_args.config, "Names a configuration with data.task.")->required();
  one_each(samples->add_option("--set", sample_args.set, "Overrides a key of the configuration (repeatable)."));
  samples->add_option("--split", sample_args.split, "Chooses the split: train, val or test.")->capture_default_str();
  samples->add_option("--first", sample_args.first, "Sets the number of the first sample.")
      ->capture_default_str()
      ->check(integer(0, static_cast<int64_t>(kMostTokens)));
  samples->add_option("-n,--count", sample_args.count, "Sets how many are shown.")
      ->capture_default_str()
      ->check(integer(1, 1 << 20));
  command(app, "version", "Shows version, build and libraries.", [&] { return version(common); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {  // --help, --version
      app.exit(e);
      return ExitCode::ok;
    }
    throw ConfigError("{}\nSee `{} --help`.", explain(app, e, argc, argv), spoken_command(app));
  }
  if (!chosen) {  // `effllm`, `effllm data`
    fmt::print("{}", app.help());
    return ExitCode::ok;
  }
  choose_threads(common.threads);
  return chosen();
}

}  // namespace effllm::app
