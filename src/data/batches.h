// Which tokens a training step sees: a pure function of (order, seed, number of the sample), so that resuming needs a
// count alone, whatever the size of a batch is from there on, and neither threads nor ranks can enter.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "config/list.h"
#include "data/corpus.h"

namespace effllm {

inline constexpr int32_t kIgnoredTarget = -1;

// Inputs and next-token targets, row-major [batch, tokens].
struct Batch {
  int64_t batch = 0, tokens = 0;
  int64_t first_sample = 0;              // number of its first row among all rows of the run
  std::vector<int32_t> inputs, targets;  // a target of kIgnoredTarget carries no loss
  // Number of document starts in the row up to and including each token, where the order resets at documents (else
  // empty). 0: still the document that an earlier call began.
  std::vector<int64_t> segments;
  int64_t counted() const;  // targets that carry a loss
};

class BatchOrder {
 public:
  virtual ~BatchOrder() = default;
  virtual Batch at(int64_t samples) const = 0;  // the next batch, after so many rows were seen
  // True where row b of that batch continues row b of the batch before.
  virtual bool continues(int64_t /*samples*/) const { return false; }
  virtual double epochs(int64_t samples) const = 0;  // passes over the split
};

struct BatchShape {
  int64_t batch, tokens;
  // Rows of a step when the run began, where that was another number: who numbers draws by them goes on with it.
  int64_t first_batch = 0;
};

struct OrderArgs {
  const TokenizedText& text;  // must outlive the order
  BatchShape shape;
  uint64_t seed;
  bool reset_documents;  // targets that begin a document carry no loss, and `segments` is filled
};

struct OrderFacts {
  std::string_view name, title;
  bool has_place = true;   // false: draws with replacement, so that no row is the next
  bool seeded = true;      // the seed changes it
  bool continues = false;  // rows go on from batch to batch
};

// ConfigError for an empty shape, DataError where the text is shorter than one step of the order needs.
using OrderInfo = Entry<BatchOrder, OrderFacts, const OrderArgs&>;
extern const List<OrderInfo> all_orders;

}  // namespace effllm
