#include "support/models.h"

#include "base/random.h"
#include "support/named.h"

namespace effllm::test {

std::unique_ptr<LanguageModel> build_model(std::string_view yaml, int64_t vocab, int64_t context, DType type,
                                           uint64_t seed) {
  return build_model_for(next_token(), yaml, vocab, context, type, seed);
}

std::unique_ptr<LanguageModel> build_model_for(const Objective& objective, std::string_view yaml, int64_t vocab,
                                               int64_t context, DType type, uint64_t seed) {
  ModelConfig config = read_model_config(parse_config(yaml, "test.yaml"), context);
  tell(objective, config);
  auto model = std::make_unique<LanguageModel>(config, vocab);
  model->params().materialize(seed, type);
  return model;
}

Tensor random_ids(int64_t batch, int64_t tokens, int64_t vocab, uint64_t seed) {
  const Tensor ids = Tensor::dense({batch, tokens}, DType::i32);
  const RandomStream numbers(seed, "ids");
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data<int32_t>()[i] =
        static_cast<int32_t>(numbers.below(static_cast<uint64_t>(i), static_cast<uint64_t>(vocab)));
  return ids;
}

double loss_gradient(const LanguageModel& model, const std::function<Tensor()>& f, const Slab& gradient) {
  ParamGrads grads = model.params().gradients(gradient);
  ParamGrads::current = &grads;
  double loss = 0;
  {
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor y = f();
    loss = *y.data<double>();
    tape.backward(y, Tensor::full({1}, DType::f64, 1));
  }
  ParamGrads::current = nullptr;
  grads.zero_unwritten();
  return loss;
}

}  // namespace effllm::test
