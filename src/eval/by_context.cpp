#include "eval/by_context.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace effllm {

std::vector<int64_t> context_bands(int64_t longest, int64_t border) {
  std::vector<int64_t> ends;
  for (int64_t end = 1; end < longest; end *= 2) {
    if (end > border && (ends.empty() || ends.back() < border)) ends.push_back(border);
    ends.push_back(end);
  }
  if (border < longest && (ends.empty() || ends.back() < border)) ends.push_back(border);
  ends.push_back(longest);
  return ends;
}

double ratio_error(std::span<const Piece> pieces, double mean, double tokens) {
  const auto k = static_cast<double>(pieces.size());
  double squares = 0;
  for (const Piece& p : pieces) {
    const double residual = p.nats - mean * static_cast<double>(p.tokens);
    squares += residual * residual;
  }
  return k > 1 ? std::sqrt(k / (k - 1) * squares) / tokens : std::nan("");
}

ContextTable::ContextTable(std::vector<int64_t> ends, size_t windows)
    : ends_(std::move(ends)), windows_(ends_.empty() ? 0 : windows) {}

void ContextTable::add(size_t window, int64_t context, double nats, int64_t bytes, int64_t characters) {
  const auto band = static_cast<size_t>(std::ranges::lower_bound(ends_, context) - ends_.begin());
  require(band < ends_.size(), "a context of {} tokens is beyond all bands", context);
  ContextBand& b = windows_[window][band];
  b.nats += nats, b.tokens += 1, b.bytes += bytes, b.characters += characters;
}

std::vector<ContextBand> ContextTable::rows(const std::function<int64_t(size_t)>& piece_of) const {
  std::vector<ContextBand> all(ends_.size());
  std::vector<std::map<int64_t, Piece>> pieces(ends_.size());
  for (size_t w = 0; w < windows_.size(); ++w)
    for (const auto& [band, part] : windows_[w]) {
      ContextBand& b = all[band];
      b.nats += part.nats, b.tokens += part.tokens, b.bytes += part.bytes, b.characters += part.characters;
      Piece& piece = pieces[band][piece_of(w)];
      piece.nats += part.nats, piece.tokens += part.tokens;
    }
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].from = i ? ends_[i - 1] + 1 : 1;
    all[i].to = ends_[i];
    std::vector<Piece> of;
    for (const auto& [number, piece] : pieces[i]) of.push_back(piece);
    all[i].stderr_nats = ratio_error(of, all[i].nats_per_token(), static_cast<double>(all[i].tokens));
  }
  std::erase_if(all, [](const ContextBand& b) { return b.tokens == 0; });
  return all;
}

}  // namespace effllm
