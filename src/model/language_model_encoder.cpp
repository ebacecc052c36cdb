// The encoder of a model: a stack of its own, from nothing in every call.
#include "model/language_model.h"

namespace effllm {

Context LanguageModel::given_encoder(Context cx) const {
  require(has_encoder(), "the model has no encoder");
  cx.state = nullptr;
  cx.direction = Direction::bidirectional;
  cx.reach = 0;
  cx.memory = {};
  return cx;
}

Tensor LanguageModel::embed_encoder(const Tensor& ids, const Context& context) const {
  const Context cx = given_encoder(context);
  return embedded(ids, encoder_, Call(cx, encoder_site_["encoder"]));
}

Tensor LanguageModel::run_encoder(Tensor x, int64_t from, int64_t to, const Context& cx) const {
  const Context pass = given_encoder(cx);
  for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i)
    x = run_block(*encoder_.blocks[i], x, Call(pass, *encoder_.sites[i]));
  return x;
}

Memory LanguageModel::encode(const Tensor& ids, const Context& context, const Tensor& lengths) const {
  Context cx = given_encoder(context);
  // What is behind a text is a document of its own, which mechanisms keep apart.
  cx.segments = {};
  if (lengths.defined()) {
    cx.segments = Tensor::dense(ids.shape(), DType::i64);
    for (int64_t i = 0; !ids.is_meta() && i < ids.numel(); ++i)
      cx.segments.data<int64_t>()[i] = i % ids.dim(1) >= lengths.data<int64_t>()[i / ids.dim(1)];
  }
  cx.positions = Call(cx, encoder_site_["encoder"]).counted(ids);
  cx.ids = ids;
  cx.shelf = std::make_shared<Shelf>();
  const Tensor x = run_encoder(embed_encoder(ids, cx), 0, static_cast<int64_t>(encoder_.blocks.size()), cx);
  return {encoder_norm(x), lengths};
}

}  // namespace effllm
