// Of commands that train a model or use one.
#include <CLI/CLI.hpp>
#include <limits>

#include "cli_options.h"
#include "cli_validators.h"
#include "config/options.h"

namespace effllm::app {

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
  app.add_option(
         "--lengths", a.lengths,
         "Scores windows of these lengths too, such as 64,256,1024, with what a model remembers of them; of a task "
         "samples of these lengths, such as 40,80,160, by the numbers of --split.")
      ->delimiter(',')
      ->check(integer(1, static_cast<int64_t>(kMostTokens)));
  app.add_flag("--by-position", a.by_position,
               "Adds the loss by how many tokens the model is given before the one that it predicts: 1, 2, 3 to 4 ...");
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
  auto* draft = app.add_option(
      "--draft", a.draft,
      "Drafts tokens with this run or checkpoint of the same tokenizer, or with ngram by what followed the last tokens "
      "before; the model then checks them in one call, and texts have the same distribution.");
  app.add_option("--draft-tokens", a.draft_tokens, "Sets how many tokens are drafted at a time.")
      ->capture_default_str()
      ->check(integer(1, 1024))
      ->needs(draft);
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
         "the end where it stands nowhere).")
      ->check(not_empty("an empty mark would stand everywhere in the prompt"));
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

}  // namespace effllm::app
