// Prompt look-up: a draft without a model, for texts that repeat themselves.
#include <algorithm>

#include "decode/draft.h"

namespace effllm {
namespace {

class Lookup final : public Draft {
 public:
  explicit Lookup(int64_t vocab) : vocab_(static_cast<size_t>(vocab)) {}
  std::unique_ptr<Draft> branch() const override { return std::make_unique<Lookup>(*this); }

  std::vector<Drafted> propose(std::span<const int32_t> text, int64_t most, uint64_t, uint64_t) override {
    std::vector<int32_t> all(text.begin(), text.end());
    std::vector<Drafted> drafted;
    for (size_t next = what_followed(text); next > 0 && static_cast<int64_t>(drafted.size()) < most; ++next) {
      Drafted d{all[next], std::vector<double>(vocab_)};
      d.q[static_cast<size_t>(d.token)] = 1;
      all.push_back(d.token);
      drafted.push_back(std::move(d));
    }
    return drafted;
  }

 private:
  // The place behind the earlier tokens that are the text's last; 0: there are none.
  static size_t what_followed(std::span<const int32_t> text) {
    size_t place = 0, longest = kLookupLeast - 1;
    for (size_t end = text.size() - 1; end > longest && longest < kLookupMost; --end) {
      const size_t most = std::min<size_t>(end, kLookupMost);
      size_t same = 0;
      while (same < most && text[end - 1 - same] == text[text.size() - 1 - same]) ++same;
      if (same > longest) longest = same, place = end;
    }
    return place;
  }

  size_t vocab_;
};

}  // namespace

std::unique_ptr<Draft> draft_by_lookup(int64_t vocab) { return std::make_unique<Lookup>(vocab); }

}  // namespace effllm
