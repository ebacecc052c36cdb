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
#include "cli_validators.h"
#include "config/options.h"
#include "help.h"
#include "kernels/parallel.h"
#include "study_commands.h"

namespace effllm::app {
namespace {

void one_each(CLI::Option* o) { o->allow_extra_args(false); }

void declare_train(CLI::App& app, TrainArgs& a) {
  app.add_option("-c,--config,config", a.config, "Gives the configuration, a YAML file.")->required();
  one_each(app.add_option("--set", a.set, "Overrides a key: --set train.batch=8 (repeatable)."));
  app.add_option(
      "--name", a.name,
      "Names the run folder (default: the name in the configuration). Without --resume, a name that is taken "
      "gets -2, -3 and so on.");
  app.add_option("--runs", a.runs, "Says which folder holds the run folders.")->default_str("runs");
  app.add_option("--resume", a.resume,
                 "Goes on from the newest checkpoint, or starts (auto). Without --set it goes on with those it was "
                 "started with. A run folder's own configuration without --name and --runs means that run.")
      ->check(one_of({"auto"}));
  app.add_flag("--allow-data-mismatch", a.allow_other_data, "Resumes although the corpus is not the one trained on.");
  app.add_flag("--allow-model-change", a.allow_other_model,
               "Resumes, or starts --from, although the configuration is another model's; the best loss starts anew.");
  app.add_option("--from", a.from,
                 "Starts with the weights of this run folder or checkpoint: a fresh optimizer, all counters at 0.");
  app.add_flag("--dry-run", a.dry_run, "Checks everything, shows what would run, and writes nothing.");
}

void declare_eval(CLI::App& app, EvalArgs& a) {
  app.add_option("model", a.model, "Names a run folder or a checkpoint.")->required();
  auto* split = app.add_option("--split", a.split, "Chooses the split: train, val or test.")->capture_default_str();
  app.add_option("--protocol", a.protocol,
                 "Says how the split is cut up: windows, sliding or carried (default: the run's).");
  app.add_option("--tokens", a.tokens, "Sets the tokens of a window (default: the run's).")
      ->check(integer(1, static_cast<int64_t>(kMostTokens)));
  app.add_option("--stride", a.stride, "Sets the tokens between windows of --protocol sliding (default: the run's).")
      ->check(integer(1, static_cast<int64_t>(kMostTokens)));
  app.add_option("--max-tokens", a.max_tokens, "Scores only the first so many tokens; 0, the default, is all.")
      ->check(integer(0, std::numeric_limits<int64_t>::max()));
  app.add_option("--bound-samples", a.bound_samples,
                 "Sets the draws for each window, where the objective's score is a bound (default: the run's).")
      ->check(integer(1, 1 << 20));
  app.add_option("--seed", a.seed, "Seeds those draws (default: train.seed of the run).")
      ->check(integer(0, std::numeric_limits<int64_t>::max()));
  app.add_flag("--left-to-right", a.left_to_right,
               "Adds to such a bound the likelihood of the order of the text: a run of the model for each token.");
  app.add_flag(
      "--pseudo-likelihood", a.pseudo_likelihood,
      "Adds to it what each token costs given all others that it may see, which bounds nothing: as many runs.");
  app.add_option(
      "--exit-layer", a.exit_layer,
      "Ends the model after so many layers, through its final norm and head; with all, tells in one pass how "
      "well it predicts after each of them.");
  app.add_flag("!--no-training-choice", a.training_choice,
               "Leaves out what layers that choose tokens come to with training's choice, beside the causal one.");
  auto* corpus = app.add_option("--corpus", a.corpus, "Chooses another corpus than the run's, by name or path.");
  auto* other = app.add_flag("--allow-data-mismatch", a.allow_other_data,
                             "Evaluates although the corpus is not the one trained on.");
  app.add_option("--text", a.text, "Scores a text file as a whole instead of a split.")
      ->excludes(split)
      ->excludes(corpus)
      ->excludes(other);
  app.add_flag("!--no-baselines", a.baselines, "Leaves out n-gram models and compressors.");
  app.add_option("--save-logits", a.save_logits,
                 "Writes tokens and logits of the first window (and segments with data.reset: document) to this "
                 "safetensors file.");
}

void declare_generate(CLI::App& app, GenerateArgs& a) {
  app.add_option("model", a.model, "Names a run folder or a checkpoint.")->required();
  auto* prompt =
      app.add_option("-p,--prompt", a.prompt, "Gives the text to continue (\\n, \\t, \\r, \\\\ are understood).");
  app.add_option("--prompt-file", a.prompt_file, "Continues this file, byte for byte; - is standard input.")
      ->excludes(prompt);
  app.add_option("-n,--tokens", a.tokens, "Sets how many tokens are generated for each text.")
      ->capture_default_str()
      ->check(positive());
  app.add_option("--samples", a.samples, "Sets how many texts are generated.")
      ->capture_default_str()
      ->check(positive());
  auto* temperature =
      app.add_option("-t,--temperature", a.temperature, "Divides the logits; 0 takes the likeliest token.")
          ->capture_default_str();
  app.add_option("--top-k", a.top_k, "Draws among the k likeliest tokens; 0: all.")->capture_default_str();
  app.add_option("--top-p", a.top_p, "Draws among the fewest tokens that reach probability p.")->capture_default_str();
  app.add_option("--seed", a.seed, "Seeds the random numbers.")->capture_default_str();
  app.add_flag("--greedy", a.greedy, "Takes the likeliest token each time (temperature 0).")->excludes(temperature);
  one_each(app.add_option("--stop", a.stop, "Ends before this text (repeatable; \\n, \\t, \\r, \\\\ are understood)."));
  app.add_option("--context", a.context,
                 "Sets how many tokens attention looks back on; 0: all (default: as many as in training where a "
                 "mechanism can't follow more, otherwise all).")
      ->check(integer(0, static_cast<int64_t>(kMostTokens)));
  app.add_option("--steps", a.steps,
                 "Sets the runs of a model that predicts masked or wrong tokens for each block (default: one a token).")
      ->check(positive());
  app.add_option(
         "--block", a.block,
         "Sets the tokens that are written before those after them (masked tokens; default: all, or the model's "
         "own blocks).")
      ->check(positive());
  app.add_option("--unmask", a.unmask,
                 "Says which masked tokens a step writes: any with the same chance (ancestral), or those that the "
                 "model is the surest of (confidence).")
      ->capture_default_str()
      ->check(one_of({"ancestral", "confidence"}));
  app.add_option(
      "--blank", a.blank,
      "Marks in the prompt where text is missing, which a model of span corruption fills in (default: ___; at "
      "the end where it stands nowhere).");
  app.add_flag("--raw", a.raw, "Writes bytes as they are, also to a terminal.");
}

void declare_verify(CLI::App& app, VerifyArgs& a) {
  app.add_option("model", a.model, "Names a configuration, a run folder or a checkpoint.")->required();
  one_each(app.add_option("--set", a.set, "Overrides a key of the configuration (repeatable)."));
  app.add_option("--type", a.type, "Chooses the numbers to compute with: f64, f32 or both.")
      ->capture_default_str()
      ->check(one_of({"f64", "f32", "both"}));
  app.add_option("--tokens", a.tokens, "Sets the tokens of a sequence (default: the context of training, at most 512).")
      ->check(integer(4, 1 << 20));
  app.add_option("--batch", a.batch, "Sets the number of sequences.")->capture_default_str()->check(positive());
}

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

void declare_bench_list(CLI::App& app, BenchListArgs& a) {
  app.add_option("only", a.only, "Takes only those whose name holds this.");
  app.add_option("--seconds", a.seconds, "Measures each for at least so many seconds.")
      ->capture_default_str()
      ->check(seconds());
  declare_format(app, a.format);
}

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

  ListArgs list_args;
  CLI::App* list_command =
      command(app, "list", "Lists what a configuration may name.", [&] { return list(common, list_args); });
  list_command->add_option(
      "kind", list_args.kind,
      "Chooses the list: mixers, ffns, blocks, projections, options, studies, objectives, optimizers, "
      "schedules, orders, tokenizers, protocols.");
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
  CLI::App* export_command = command(app, "export", "Writes weights alone, for other programs.",
                                     [&] { return export_weights(common, export_args); });
  export_command->add_option("model", export_args.model, "Names a run folder or a checkpoint.")->required();
  export_command->add_option("-o,--output", export_args.folder, "Names the folder to write.")->required();
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
