// What `effllm eval --by-position` says: the loss by how many tokens the model is given before the one that it
// predicts.
#pragma once
#include "base/json.h"
#include "eval/evaluator.h"

namespace effllm::app {

// A band of the result in the units that it has; and its bits of a token of a task, else of a character or byte, not
// finite where it has none.
nlohmann::json to_json(const ContextBand& b, const EvalResult& r);
double bits_of(const ContextBand& b, const EvalResult& r);

void add_positions(nlohmann::json& j, const EvalResult& r);
// `trained`: tokens of context that training gave at most.
void print_positions(const EvalResult& r, int64_t trained);

}  // namespace effllm::app
