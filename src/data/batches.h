// Which tokens a training step sees: a pure function of (order, seed, number of the sample), so that resuming needs a
// count alone, whatever the size of a batch is from there on, and neither threads nor ranks can enter.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "data/corpus.h"
#include "objectives/objective.h"

namespace effllm {

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
  const TokenizedText& text;  // these two must outlive the order
  const Objective& objective;
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
