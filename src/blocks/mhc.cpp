// Manifold-constrained hyper-connections: streams are mixed by doubly stochastic matrices, whose products neither grow
// nor vanish with depth.
//
//   pre | post | res = a W rms_norm(all streams) + b, a number a for each of the three
//   input = sum_j sigmoid(pre)_j h_j,  h_i <- sum_j R_ij h_j + 2 sigmoid(post)_i f(input),  R = Sinkhorn of exp(res)
//
// What comes after the last layer reads the sum of the streams. Xie et al. 2025, arXiv:2512.24880.
#include "blocks/manifold.h"

namespace effllm::blocks {

extern constinit const LayerInfo mhc = LayerInfo::of<ManifoldIn<Manifold::Form::paper>>(manifold_facts(
    "mhc", "Manifold-constrained hyper-connections", "none: the paper's equations; its code is not public",
    "any mixer, and a channel mixer or none, but neither `cross` nor `parallel`; the norm of all streams has no "
    "weight; the paper gives the "
    "start of a alone, 0.01: here W starts at 0, b so that the streams stay apart, one is read most and "
    "all are written with weight 1; the streams are added up at the end, as in hyper-connections"));

}  // namespace effllm::blocks
