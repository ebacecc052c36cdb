#include "decode/context_limit.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace effllm {
namespace {

int64_t whole_blocks(int64_t tokens, int64_t block) {
  if (block == 0 || tokens == 0) return tokens;
  if (tokens < block)
    throw ConfigError("a context of {} for a model that writes {} at a time: choose one of at least a block",
                      counted(tokens, "token"), block);
  return tokens / block * block;
}

}  // namespace

bool ContextLimit::takes_effect(int64_t prompt_tokens, int64_t new_tokens) const {
  if (tokens > 0 && parts.encoder > 0)
    return prompt_tokens > parts.encoder || new_tokens > begun(prompt_tokens, new_tokens).decoder;
  return tokens > 0 && new_tokens > tokens - prompt_tokens + unread;
}

RowParts ContextLimit::begun(int64_t text, int64_t new_tokens) const {
  const int64_t read = parts.encoder ? std::min(text, parts.encoder) : text;
  return {.encoder = read, .decoder = tokens ? std::min(tokens - read + 1, parts.decoder) : new_tokens + 1};
}

ContextLimit context_limit(const LanguageModel& model, int64_t trained, std::optional<int64_t> asked) {
  const int64_t longest = model.config().longest_row();
  const bool learned = longest < std::numeric_limits<int64_t>::max();
  const LongText long_text = model.long_text(trained);
  if (asked && *asked < 0) throw ConfigError("a context of {} tokens: it must be positive, or 0 for no limit", *asked);
  if (learned && asked && (*asked == 0 || *asked > longest))
    throw ConfigError("the model has learned positions for {}: choose a context of at most that",
                      counted(longest, "token"));
  if (model.config().prefix) {  // what is left of a text becomes the prefix
    const int64_t tokens = asked ? *asked : long_text.unseen ? std::min(trained, longest) : 0;
    return {.tokens = tokens, .anew = tokens > 0};
  }
  if (model.has_encoder() && model.config().extra_targets > 0) {
    if (asked) throw ConfigError("the model reads the whole prompt to fill in what is missing: leave the context out");
    return {};
  }
  if (model.has_encoder()) {
    const int64_t tokens = asked ? *asked : long_text.unseen ? std::min(trained, longest) : 0;
    if (tokens == 0) return {};
    const auto [encoder, decoder] = model.config().parts_of(tokens);
    const bool one_place = encoder + decoder <= tokens + 1;  // where training cuts a row
    return {.tokens = tokens,
            .anew = true,
            .again = one_place ? encoder : std::max<int64_t>(1, tokens / 2),
            .parts = {encoder, decoder}};
  }
  if (!model.config().causal || model.config().block) {
    const int64_t tokens = asked ? *asked : long_text.unseen ? std::min(trained, longest) : 0;
    return {.tokens = whole_blocks(tokens, std::min(model.config().block, longest)), .anew = true, .unread = 0};
  }
  if (asked && *asked > 0 && !long_text.anew && !long_text.reach)
    throw ConfigError(
        "no mechanism of the model looks back over a number of tokens that could be limited: it follows a text of any "
        "length with a state of fixed size; leave the context out");
  if (asked) return {.tokens = *asked, .anew = *asked > 0 && long_text.anew};
  if (!long_text.unseen) return {};
  return {.tokens = std::min(trained, longest), .anew = long_text.anew};
}

std::string describe(const ContextLimit& limit) {
  if (limit.tokens == 0) return "the model sees the whole text";
  if (limit.parts.encoder)
    return fmt::format(
        "the encoder reads the last {}, the decoder writes at most {}, then the model starts anew from the "
        "last {}",
        counted(limit.parts.encoder, "token"), counted(limit.parts.decoder, "token"), limit.again);
  if (!limit.anew) return fmt::format("attention sees the last {}", counted(limit.tokens, "token"));
  return fmt::format("after {} the model starts anew from the last {}", counted(limit.tokens, "token"),
                     limit.again ? limit.again : std::max<int64_t>(1, limit.tokens / 2));
}

}  // namespace effllm
