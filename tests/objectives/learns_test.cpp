// Objectives of several losses, and those that give an encoder a part of the row, follow their gradients: on one batch
// with one noise the loss halves in thirty steps.
#include "objectives/objective_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// What reads a text, and a decoder that reads what is made of it.
constexpr std::string_view kEncoded =
    "{d_model: 16, init: {std: 0.4}, tie_embeddings: false, block: {ffn: {type: swiglu}, cross: {type: attention, "
    "heads: "
    "2}}, encoder: {layers: [{mixer: {type: attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}]}";

}  // namespace

TEST_CASE("objectives: multi_token in both forms, seq2seq, span_corruption and early exits learn one batch") {
  const Threads one(1);
  for (const char* form : {"parallel", "sequential"})
    check_learns(*read_objective(std::string("{type: multi_token, tokens: 3, form: ") + form + "}"));
  for (const char* curriculum : {"none", "rotational, every: 2", "gradual"})
    check_learns(
        *read_objective(std::string("{type: next_token, early_exit: {scale: 0.5, curriculum: ") + curriculum + "}}"));
  for (const char* encoded :
       {"{type: seq2seq, prefix: 0.5}", "{type: seq2seq, split: random}", "{type: span_corruption}"})
    check_learns(*read_objective(encoded), kEncoded);
}
