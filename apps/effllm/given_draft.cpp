#include "given_draft.h"

#include <fmt/format.h>

#include "train/run_config.h"

namespace effllm::app {
namespace {

// Tokens of the draft must mean what the target's do.
void check_tokenizer(const LoadedModel& draft, const LoadedModel& target) {
  if (draft.tokenizer->to_json() == target.tokenizer->to_json()) return;
  const auto ours = draft.tokenizer->kind(), theirs = target.tokenizer->kind();
  throw ConfigError("{} has another {} than {}: a token would mean something else; give one that has the same",
                    draft.checkpoint.string(),
                    ours == theirs ? "vocabulary" : fmt::format("tokenizer (`{}`, not `{}`)", ours, theirs),
                    target.checkpoint.string());
}

}  // namespace

GivenDraft draft_of(const std::string& name, std::string_view option, int64_t tokens, const LoadedModel& target) {
  GivenDraft d;
  d.options.tokens = tokens;
  d.options.lookup = name == "ngram";
  if (!d.options.lookup) {
    d.model = load_model(name);
    d.options.model = d.model->model.get();
  }
  try {
    if (d.model) check_tokenizer(*d.model, target);
    check(d.options, *target.model);
  } catch (const ConfigError& e) {
    throw ConfigError("{}: {}", option, e.what());
  }
  if (d.model) d.options.context = context_limit(*d.model->model, trained_context(d.model->config));
  return d;
}

}  // namespace effllm::app
