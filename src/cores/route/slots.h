// Slots, each a mean of all tokens of a document, and tokens as means of slots (core K7): routing in which every token
// takes part in everything, Puigcerver et al. 2023, arXiv:2308.00951. A document has slots to itself.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// How many documents a row of T tokens has room for: T where there are segments, which alone say how many there are.
int64_t room_for_documents(int64_t tokens, const Tensor& segments);
// i64 [B, R S, 1]: which of `count` experts works on each slot, -1 where a row has no such document; R documents have
// room in a row, whose S slots fall into equal runs, one an expert.
Tensor experts_of_slots(int64_t batch, int64_t tokens, int64_t slots, int64_t count, const Tensor& segments);

// exp(x) / sum exp(x) over the tokens of each document, every column by itself. [B, T, S] -> [B, T, S].
Tensor softmax_of_tokens(const Tensor& x, const Tensor& segments);
// sum over the tokens t of each document of weight_ts x_t: x [B, T, D], weights [B, T, S] -> [B, R S, D], documents one
// after the other, zeros where there is none.
Tensor tokens_to_slots(const Tensor& x, const Tensor& weights, const Tensor& segments);
// sum over the slots s of a token's document of weight_ts y_s: slots [B, R S, D], weights [B, T, S] -> [B, T, D].
Tensor slots_to_tokens(const Tensor& slots, const Tensor& weights, const Tensor& segments);

}  // namespace effllm
