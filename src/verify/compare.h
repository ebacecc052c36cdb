// The comparison of two ways through a model, token by token, as a finding keeps it.
#pragma once
#include "verify/forms.h"
#include "verify/verify.h"

namespace effllm {

// Tokens [at, at + n) of `form` should be tokens [0, n) of `right`, both [B, .., Q]; n is the shorter of what is left.
// Adds to the finding; `label` says what the form is. Tokens after a choice that differs are left out and counted.
void compare(Finding& finding, const Outcome& form, int64_t at, const Outcome& right, const std::string& label);
// The largest |logit|, at least 1: what differences are measured by.
double scale_of(const Tensor& logits);
// Whether it holds, once all is compared.
void judge(Finding& finding, bool choices_may_differ);

}  // namespace effllm
