#include <fmt/format.h>

#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "shared.h"
#include "store/run_folder.h"
#include "train/grow.h"

namespace effllm::app {
namespace {

nlohmann::json or_null(const std::optional<double>& value) { return value ? nlohmann::json(*value) : nlohmann::json(); }

void print_function(const GrownRun& g, const FunctionChange& f) {
  if (g.other_function.empty())
    fmt::print("the function is kept");
  else
    fmt::print("the function is another, for a softmax gives tokens with keys of zeros a share too: {}",
               join(g.other_function, ", "));
  fmt::print("; logits of {} differ by {:.1e} of the largest at most",
             counted(f.tokens, f.text ? "token" : "random token"), f.largest / f.logits);
  if (f.loss_before) fmt::print(", loss {:.4f} -> {:.4f} nats/token", *f.loss_before, *f.loss_after);
  fmt::print("\n");
}

}  // namespace

ExitCode grow(const Common& common, const GrowArgs& args) {
  prepare_threads();
  const GrownRun g = effllm::grow(args.model, args.set, args.folder);
  const FunctionChange f = function_change(g.from, g.checkpoint);
  if (common.json) {
    nlohmann::json changes = nlohmann::json::array();
    for (const ConfigChange& c : g.changes)
      changes.push_back({{"key", c.key}, {"before", c.before}, {"after", c.after}});
    print_json({{"run", args.folder},
                {"from", g.from.string()},
                {"step", g.step},
                {"parameters_before", g.parameters_before},
                {"parameters", g.parameters},
                {"changes", changes},
                {"function_kept", g.other_function.empty()},
                {"other_function", g.other_function},
                {"largest_logit_difference", f.largest},
                {"largest_logit", f.logits},
                {"loss_before", or_null(f.loss_before)},
                {"loss_after", or_null(f.loss_after)},
                {"unit", "nats/token"}});
    return ExitCode::ok;
  }
  fmt::print("{}: step {} of {}, {} instead of {}\n", args.folder, g.step, g.from.string(),
             human_counted(static_cast<double>(g.parameters), "parameter"),
             human_count(static_cast<double>(g.parameters_before)));
  for (const ConfigChange& c : g.changes) fmt::print("  {}\n", c.text());
  print_function(g, f);
  if (!common.quiet)
    print_stderr(fmt::format("next:  {0} train {1} --resume auto --set train.max_steps=N   {0} eval {2}\n",
                             shell_word(common.program), shell_word(RunFolder(args.folder).config().string()),
                             shell_word(args.folder)));
  return ExitCode::ok;
}

}  // namespace effllm::app
