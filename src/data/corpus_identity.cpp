#include "data/corpus_identity.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/escapes.h"
#include "base/hash.h"

namespace effllm {
namespace {

// "`\n\n`", or "none".
std::string shown(const std::string& separator) { return separator.empty() ? "none" : "`" + escape(separator) + "`"; }

}  // namespace

std::string CorpusIdentity::hash() const {
  require(complete(), "CorpusIdentity: the hash of one that is not complete");
  if (!task.empty()) return effllm::sha256(fmt::format("{}\n{}", sha256, task));
  return effllm::sha256(fmt::format("{}\n{}\n{}\n{}", sha256, *train_end, *val_end, *separator));
}

std::vector<std::string> differences(const CorpusIdentity& then, const CorpusIdentity& now) {
  std::vector<std::string> found;
  if (then.task != now.task)
    found.push_back(fmt::format("the task was {}, now {}", then.task.empty() ? "none, but a text" : then.task,
                                now.task.empty() ? "none, but a text" : now.task));
  if (then.sha256 != now.sha256)
    found.push_back(fmt::format("{} had the SHA-256 {}, now {}", then.task.empty() ? "the text" : "the samples",
                                then.sha256.substr(0, 12), now.sha256.substr(0, 12)));
  const auto compare = [&](const char* split, const std::optional<int64_t>& a, const std::optional<int64_t>& b) {
    if (a && b && *a != *b) found.push_back(fmt::format("{} ended at byte {}, now at {}", split, *a, *b));
  };
  compare("train", then.train_end, now.train_end);
  compare("val", then.val_end, now.val_end);
  if (then.separator && now.separator && *then.separator != *now.separator)
    found.push_back(
        fmt::format("the document separator was {}, now {}", shown(*then.separator), shown(*now.separator)));
  return found;
}

}  // namespace effllm
