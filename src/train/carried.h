// What the rows of a batch remember from step to step (train.carry_state).
#pragma once
#include <memory>
#include <vector>

#include "model/language_model.h"
#include "train/shards.h"

namespace effllm {

// ConfigError where a state can't be carried from step to step, because it grows with every token.
void require_carriable(const LanguageModel& model);

// Two states of all rows: shards take views of one and put what comes after into the other. A finite step exchanges
// the two; one that is left out or given up has changed nothing.
class Carried {
 public:
  // Zeros, with room for a row of `capacity` tokens before it starts anew. ConfigError as above.
  Carried(const LanguageModel& model, int64_t rows, int64_t capacity);
  void begin(bool continues);  // a step; where rows don't go on, they start from nothing
  State take(const Shard& shard) const { return start_->rows(shard.first, shard.sequences); }
  void put(const Shard& shard, const State& after) const { next_.rows(shard.first, shard.sequences).put(after); }
  void keep();       // what was put: the step was finite
  void leave_out();  // it was not: rows that started from nothing will do so again
  const State& rows() const { return now_; }

 private:
  State now_, next_;
  const State* start_ = &now_;  // where the step's shards start
  std::vector<std::unique_ptr<Slab>> memory_;
};

}  // namespace effllm
