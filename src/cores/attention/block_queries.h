// Lists of key blocks, one for every token, turned round: the tokens that read each block.
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/view.h"

namespace effllm {

struct BlockQueries {
  struct Block {
    int64_t from, to;      // its keys
    int64_t first, count;  // its queries in `token`
  };
  std::vector<Block> blocks;   // of all documents, in order
  std::vector<int64_t> token;  // of the call, ascending for each block

  // lists: [T, n] of one sequence and key-value head, as selected_attention takes them; at: the key of the first token;
  // starts: the row's document starts or null (see segments.h). Blocks that begin after a token are left out of its
  // list.
  BlockQueries(View<const int64_t> lists, int64_t block, int64_t at, const uint8_t* starts);
};

}  // namespace effllm
