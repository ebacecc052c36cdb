// A few symbols among blanks, at random places, are to be told in their order once the sign comes.
//
//   _ 3 _ _ 1 _ 3 > _ _ _        scored: 3 1 3, at the last three places (marker: first)
//   _ 3 _ _ 1 _ 3 > > >          the same, at the signs (marker: each)
#include <fmt/format.h>

#include <algorithm>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct SelectiveCopyingOptions final : TaskOptions {
  int64_t vocab = 16, length = 256, symbols = 16;
  std::string marker = "first";
  void visit(OptionVisitor& v) override {
    v("vocab", vocab, "Sets the size of the vocabulary, the last two of which are the blank and the sign.",
      between(3, 1 << 20));
    v("length", length, "Sets the tokens of a sample.", between(3, kMostTokens));
    v("symbols", symbols, "Sets how many of them are symbols to remember.", between(1, kMostTokens / 4));
    v("marker", marker,
      "Says where the sign stands: before the places of the answers, which are blanks (MAD), or at each (Mamba).",
      {"first", "each"});
    TaskOptions::visit(v);
  }
};

class SelectiveCopying final : public Task {
 public:
  using Options = SelectiveCopyingOptions;
  SelectiveCopying(const Options& o, uint64_t) : o_(o), each_(o.marker == "each") {
    const int64_t least = 2 * o.symbols + (each_ ? 0 : 1);
    if (o.length < least)
      throw_at(o.mark, fmt::format("data.length {} has no room for {} symbols and their answers; give at least {}",
                                   o.length, o.symbols, least));
  }
  int64_t vocab() const override { return o_.vocab; }
  std::string symbol(int32_t id) const override {
    return id == o_.vocab - 1 ? ">" : id == o_.vocab - 2 ? "_" : fmt::format("{}", id);
  }
  int64_t longest() const override { return o_.length; }
  Sample sample(Draws& draws) const override {
    const auto blank = static_cast<int32_t>(o_.vocab - 2), sign = static_cast<int32_t>(o_.vocab - 1);
    const int64_t answers = o_.length - o_.symbols, room = answers - (each_ ? 0 : 1);
    std::vector<int64_t> places = draws.distinct(o_.symbols, room);
    std::ranges::sort(places);
    Sample s = unscored(std::vector<int32_t>(static_cast<size_t>(o_.length), blank));
    for (int64_t i = 0; i < o_.symbols; ++i) {
      const auto id = static_cast<int32_t>(draws.below(o_.vocab - 2));
      const auto answer = static_cast<size_t>(answers + i);
      s.tokens[static_cast<size_t>(places[static_cast<size_t>(i)])] = id;
      s.targets[answer] = id;
      if (each_) s.tokens[answer] = sign;
    }
    if (!each_) s.tokens[static_cast<size_t>(answers - 1)] = sign;
    return s;
  }

 private:
  Options o_;
  bool each_;
};

}  // namespace

extern constinit const TaskInfo selective_copying = TaskInfo::of<SelectiveCopying>({
    .name = "selective_copying",
    .title = "symbols among blanks, in their order",
    .paper = "Gu and Dao 2023, arXiv:2312.00752; MAD: Poli et al. 2024, arXiv:2403.17844",
    .source = "athms/mad-lab@0f49a45, mad/data/instances.py, generate_selective_copying_instance",
    .deviations = "symbols stand at places drawn alike among all before the sign, where the code inserts blanks before "
                  "symbols alone, so that the last one always meets the sign, by numbers that its seed does not decide",
});

}  // namespace effllm::tasks
