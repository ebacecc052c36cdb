#include "support/tiny_run.h"

#include "base/random.h"

namespace effllm::test {

const std::string_view TinyFolder::kTinyConfig = R"(model:
  d_model: 16
  block: {ffn: {type: mlp, expand: 2}}
  layers:
    - mixer: {type: attention, heads: 2}
    - mixer: {type: gla, heads: 2, gate_rank: 4}
    - mixer: {type: min_gru, conv: 3}
data: {corpus: data/tiny.yaml, tokenizer: char}
optim: {lr: 1e-2, schedule: {warmup: 10}}
train: {batch: 4, context: 16, max_steps: 100, log_every: 10, save_every: 20}
eval: {max_tokens: 400, sample_tokens: 12, prompt: the}
)";

std::string tiny_text(int lines) {
  constexpr std::string_view kWords[] = {"the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "again"};
  const RandomStream numbers(11, "words");
  std::string text;
  uint64_t drawn = 0;
  for (int line = 0; line < lines; ++line) {
    for (int word = 0; word < 10; ++word) {
      text += kWords[numbers.below(drawn++, 10)];
      text += word < 9 ? ' ' : '\n';
    }
    if (line % 20 == 19) text += '\n';
  }
  return text;
}

TinyFolder::TinyFolder(const std::string& name, std::string_view config) : folder(name) {
  spill(folder / "text.txt", tiny_text());
  prepare_corpus(folder / "text.txt", "tiny", folder / "data", 0.8, 0.1, "\n\n");
  spill(folder / "c.yaml", config);
}

}  // namespace effllm::test
