#include "train/samples.h"

#include <fmt/format.h>

#include "base/text.h"
#include "decode/generator.h"

namespace effllm {

std::filesystem::path SampleTexts::file() const {
  return run_.folder.samples() / fmt::format("step_{:09}.txt", run_.at.step);
}

bool SampleTexts::written() const {
  std::error_code error;
  return std::filesystem::exists(file(), error);
}

void SampleTexts::write() {
  const Experiment& x = run_.x;
  const EvalSection& eval = x.config.eval;
  if (eval.sample_tokens == 0) return;
  GenerateOptions o;
  o.tokens = eval.sample_tokens;
  o.sampler.temperature = eval.temperature;
  o.sampler.seed = static_cast<uint64_t>(x.config.train.seed);
  o.context = context_limit(*x.model, trained_context(x.config));
  const int64_t length = prompt_length(*x.model, *x.tokenizer, eval.prompt, o.blank);
  if (!said_context_ && o.context.takes_effect(length, o.tokens))
    run_.log.say(fmt::format("samples: {}, as in training", describe(o.context)));
  if (const auto note = short_of_places(*x.model, *x.tokenizer, eval.prompt, o); !said_context_ && !note.empty())
    run_.log.say(fmt::format("samples: {}", note));
  said_context_ = true;
  const int64_t step = run_.at.step;
  run_.log.terminal.phase(fmt::format("step {}  writing a sample of {}", step, counted(o.tokens, "token")));
  const ShownWeights shown(*x.optimizer);
  const auto texts = generate(*x.model, *x.tokenizer, eval.prompt, o);
  run_.log.terminal.clear();
  write_file_atomic(file(), std::string(before_text(*x.model, eval.prompt, o.blank)) + texts.front() + "\n");
}

}  // namespace effllm
