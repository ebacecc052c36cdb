// What layers measure in the tasks of an evaluation, added up in the order of the text, whoever is done first.
#pragma once
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "nn/ledger.h"

namespace effllm {

class TaskLedgers {
 public:
  explicit TaskLedgers(int64_t tokens) : sum_(0, tokens) {}  // that all tasks give to the model
  Ledger empty() const { return sum_.empty(); }
  void add(int64_t task, Ledger ledger) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(task, std::move(ledger));
    for (auto it = waiting_.find(next_); it != waiting_.end(); it = waiting_.find(++next_)) {
      sum_ += it->second;
      waiting_.erase(it);
    }
  }
  std::vector<Measured> rows() const { return sum_.rows(); }

 private:
  Ledger sum_;
  std::mutex mutex_;
  std::map<int64_t, Ledger> waiting_;
  int64_t next_ = 0;
};

}  // namespace effllm
