#include "cores/common/segments.h"

#include <doctest/doctest.h>

#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// Two rows of 13 tokens: the first goes on with a document and then has three more (one of a single token), the second
// begins with a start.
Tensor documents() {
  return integers({2, 13}, {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
}

}  // namespace

TEST_CASE("segments: pieces and document borders") {
  const DocumentStarts starts(documents());
  const uint8_t *first = starts.row(0), *second = starts.row(1);
  CHECK(continues(first));
  CHECK_FALSE(continues(second));
  CHECK(document_begin(first, 2) == 0);
  CHECK(document_begin(first, 6) == 3);
  CHECK(document_end(first, 3, 13) == 7);
  CHECK(document_end(first, 12, 13) == 13);
  const std::vector<Piece> pieces = pieces_of(first, 13, 3);
  const int64_t expected[][4] = {{0, 3, 0, 1}, {3, 6, 1, 0}, {6, 7, 0, 1}, {7, 8, 1, 1}, {8, 11, 1, 0}, {11, 13, 0, 0}};
  REQUIRE(pieces.size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    CHECK(pieces[i].from == expected[i][0]);
    CHECK(pieces[i].to == expected[i][1]);
    CHECK(pieces[i].fresh == (expected[i][2] != 0));
    CHECK(pieces[i].closes == (expected[i][3] != 0));
  }
  CHECK(pieces_of(second, 13, 100).front().fresh);
  CHECK(pieces_of(nullptr, 13, 13).size() == 1);
  CHECK(DocumentStarts(Tensor()).row(0) == nullptr);
}
