// The comparison of two ways through a model, token by token, as a finding keeps it.
#pragma once
#include "verify/forms.h"
#include "verify/verify.h"

namespace effllm {

// Tokens [at, at + n) of `form` should be tokens [0, n) of `right`, both [B, .., Q]; n is the shorter of what is left.
// Adds to the finding; `label` says what the form is. Tokens after a choice that differs are left out and counted.
void compare(Finding& finding, const Outcome& form, int64_t at, const Outcome& right, const std::string& label);
// How many of the choices at each place that either makes both make: "layers.1.ffn 81.2 % of 512".
std::string choices_in_common(const Outcome& a, const Outcome& b);
// The largest |logit|, at least 1: what differences are measured by.
double scale_of(const Tensor& logits);
// Whether it holds, once all is compared.
void judge(Finding& finding, bool choices_may_differ);

}  // namespace effllm
