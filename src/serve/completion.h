// The answer to a request for completions.
#pragma once
#include "base/json.h"
#include "serve/completion_request.h"

namespace effllm {

// Runs the model on the calling thread, which is the only one that may. A text of a prompt is what `effllm generate`
// writes with the same options; log-likelihoods are natural logarithms, of the model itself whatever the temperature
// is. Errors are those of generate() and score_tokens(), HttpError 400 where a text is longer than can be scored, 504
// where `deadline`, seconds of seconds_now(), has passed.
nlohmann::json complete(const CompletionRequest& request, const ServedModel& served, double deadline);

// A token as text: itself where it is UTF-8, else its bytes: "bytes:\xe2".
std::string token_text(const Tokenizer& tokenizer, int32_t id);

}  // namespace effllm
