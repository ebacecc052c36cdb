#include "decode/generator.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/out_of_memory.h"
#include "decode/encoded.h"
#include "decode/reading.h"
#include "decode/speculate.h"

namespace effllm {
namespace {

void check(const LanguageModel& model, const Tokenizer& tokenizer, const GenerateOptions& o) {
  if (o.tokens < 0) throw ConfigError("{} tokens to generate: the number can't be negative", o.tokens);
  if (o.samples < 1) throw ConfigError("{} samples to generate: at least one is needed", o.samples);
  for (const std::string& s : o.stop)
    if (s.empty()) throw ConfigError("an empty stop string would end every text at once; leave it out");
  check(o.sampler);
  check(o.denoise, model.config());
  if (model.config().causal && model.config().block == 0 && o.denoise.given())
    throw ConfigError(
        "the model predicts the next token, and writes one after the other: steps, blocks and the order of choice are "
        "for models that predict masked tokens");
  if (tokenizer.vocab_size() != model.vocab())
    throw ConfigError("a tokenizer of {} for a model of {}", counted(tokenizer.vocab_size(), "symbol"), model.vocab());
  if (o.draft.given()) check(o.draft, model);
}

// A text that grows by tokens, read by a model. A copy branches off.
class Continuation {
 public:
  Continuation(const LanguageModel& model, std::vector<int32_t> prompt, int64_t new_tokens, const ContextLimit& limit)
      : tokens_(std::move(prompt)), reading_(model, limit, static_cast<int64_t>(tokens_.size()) + new_tokens) {
    reading_.read(tokens_);
  }
  void append(int32_t token) {
    tokens_.push_back(token);
    reading_.read(tokens_);
  }
  int32_t next(const SamplerOptions& o, uint64_t sample_index, uint64_t token_index) const {
    return draw(reading_.probabilities(0, o), o.seed, sample_index, token_index);
  }

 private:
  std::vector<int32_t> tokens_;
  Reading reading_;
};

// The text of the tokens that write(put) puts, until put() says false.
template <class F>
std::string written(const Tokenizer& tokenizer, const GenerateOptions& o, int64_t sample, const OnText& on_text,
                    F&& write) {
  TextStream stream(o.stop);
  std::string all;
  if (on_text) on_text(sample, "");
  const auto show = [&](const std::string& piece) {
    all += piece;
    if (on_text && !piece.empty()) on_text(sample, piece);
  };
  write([&](std::span<const int32_t> tokens) {
    show(stream.push(tokenizer.decode(tokens)));
    return !stream.stopped();
  });
  show(stream.finish());
  return all;
}

template <class Text, class F>
void put_each(Text text, const GenerateOptions& o, int64_t sample, F&& put) {
  for (int64_t i = 0; i < o.tokens; ++i) {
    const int32_t token = text.next(o.sampler, static_cast<uint64_t>(sample), static_cast<uint64_t>(i));
    if (!put(std::span(&token, 1)) || i + 1 == o.tokens) return;
    text.append(token);
  }
}

// Length of `s` without a UTF-8 sequence at its end that more bytes could complete.
size_t whole_sequences(std::string_view s) {
  for (size_t back = 1; back <= std::min<size_t>(3, s.size()); ++back) {
    const auto c = static_cast<unsigned char>(s[s.size() - back]);
    if ((c & 0xC0) == 0x80) continue;
    const size_t length = c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 1;
    return length > back ? s.size() - back : s.size();
  }
  return s.size();
}

}  // namespace

size_t TextStream::safe_length() const {
  size_t safe = held_.size();
  for (const std::string& s : stop_)
    for (size_t n = std::min(s.size() - 1, held_.size()); n > 0; --n)
      if (held_.ends_with(std::string_view(s).substr(0, n))) {
        safe = std::min(safe, held_.size() - n);
        break;
      }
  return whole_sequences(std::string_view(held_).substr(0, safe));
}

std::string TextStream::push(std::string_view bytes) {
  if (stopped_) return {};
  held_ += bytes;
  size_t end = std::string::npos;
  for (const std::string& s : stop_) end = std::min(end, held_.find(s));
  stopped_ = end != std::string::npos;
  std::string out = held_.substr(0, stopped_ ? end : safe_length());
  held_ = stopped_ ? std::string() : held_.substr(out.size());
  return out;
}

std::string TextStream::finish() { return std::exchange(held_, std::string()); }

std::vector<int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view prompt) {
  if (!prompt.empty()) return tokenizer.encode(prompt);
  try {
    return tokenizer.encode("\n");
  } catch (const DataError&) {
    return {0};
  }
}

int64_t prompt_length(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                      std::string_view blank) {
  return static_cast<int64_t>(model.config().extra_targets > 0 ? blanks_of(model, tokenizer, prompt, blank).read.size()
                                                               : prompt_tokens(tokenizer, prompt).size());
}

std::string short_of_places(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                            const GenerateOptions& o) {
  if (model.config().extra_targets == 0 || !model.has_encoder()) return "";
  const int64_t places = places_for(model, blanks_of(model, tokenizer, prompt, o.blank));
  return o.tokens > places ? fmt::format("the decoder has learned positions for {}", counted(places, "new token")) : "";
}

std::string_view before_text(const LanguageModel& model, std::string_view prompt, std::string_view blank) {
  return model.config().extra_targets > 0 ? prompt.substr(0, prompt.find(blank)) : prompt;
}

std::vector<std::string> generate(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                                  const GenerateOptions& options, const OnText& on_text, DraftCounts* counts) {
  check(model, tokenizer, options);
  const Activity activity("generating", "generate fewer tokens (--tokens, eval.sample_tokens)");
  const Tape::Paused paused;
  std::vector<std::string> texts;
  const auto write_all = [&](auto&& write) {
    for (int64_t i = 0; i < options.samples; ++i)
      texts.push_back(written(tokenizer, options, i, on_text, [&](auto&& put) { write(i, put); }));
  };
  if (!model.config().causal || model.config().block) {
    const std::vector<int32_t> start = prompt.empty() ? std::vector<int32_t>() : tokenizer.encode(prompt);
    write_all([&](int64_t i, auto&& put) {
      denoise(model, start, options.tokens, options.denoise, options.sampler, options.context, i, put);
    });
    return texts;
  }
  if (model.config().extra_targets > 0) {
    const Blanks blanks = blanks_of(model, tokenizer, prompt, options.blank);
    const Decoding start = begin_filling(model, blanks, options.tokens);
    write_all([&](int64_t i, auto&& put) { fill_in(model, blanks, start, options.tokens, options.sampler, i, put); });
    return texts;
  }
  if (model.has_encoder()) {
    const EncodedContinuation start(model, prompt_tokens(tokenizer, prompt), options.tokens, options.context);
    write_all([&](int64_t i, auto&& put) { put_each(start, options, i, put); });
    return texts;
  }
  if (options.draft.given()) {
    DraftCounts unread;
    const Speculation start(model, prompt_tokens(tokenizer, prompt), options.tokens, options.context, options.draft,
                            options.sampler);
    write_all([&](int64_t i, auto&& put) {
      Speculation(start).write(
          i, [&](int32_t token) { return put(std::span(&token, 1)); }, counts ? *counts : unread);
    });
    return texts;
  }
  const Continuation start(model, prompt_tokens(tokenizer, prompt), options.tokens, options.context);
  write_all([&](int64_t i, auto&& put) { put_each(start, options, i, put); });
  return texts;
}

}  // namespace effllm
