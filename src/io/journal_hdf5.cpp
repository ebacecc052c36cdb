#include <algorithm>
#include <array>
#include <iterator>

#include "io/journal.h"

namespace effllm {
namespace {

constexpr int64_t kFormatVersion = 1;  // of metrics.h5

// Units as in UDUNITS where it has them; "1" is dimensionless, and "" says that nobody told us.
struct Metric {
  std::string_view name, units, long_name;
};
constexpr std::array<Metric, 21> kMetrics = {
    {{"loss", "nats/token", "cross entropy"},
     {"stderr", "nats/token", "standard error of the cross entropy"},
     {"aux_loss", "1", "auxiliary loss"},
     {"bpc", "bits/character", "bits per character (UTF-8 code point)"},
     {"bpb", "bits/byte", "bits per byte"},
     {"ppl", "1", "perplexity per token"},
     {"accuracy", "1", "fraction of tokens predicted right"},
     {"lr", "1", "learning rate"},
     {"grad_norm", "1", "global norm of the gradient before clipping"},
     {"param_norm", "1", "global norm of the parameters"},
     {"tokens", "tokens", "tokens trained on so far"},
     {"scored_tokens", "tokens", "tokens that were scored"},
     {"epoch", "1", "passes over the corpus so far"},
     {"wall_s", "s", "time of training so far"},
     {"step_s", "s", "time of one step"},
     {"tok_per_s", "tokens/s", "tokens per second"},
     {"rss_mb", "MB", "resident memory"},
     {"peak_rss_mb", "MB", "largest resident memory so far"},
     {"flops", "FLOP", "floating-point operations so far"},
     {"flop_per_s", "FLOP/s", "floating-point operations per second"},
     {"gflops", "GFLOP/s", "billions of floating-point operations per second"}}};

H5Series series(const std::string& name, const std::vector<double>& values) {
  const auto known = std::ranges::find(kMetrics, std::string_view(name), &Metric::name);
  if (known != kMetrics.end()) return {name, std::string(known->units), std::string(known->long_name), values};
  std::string words = name;
  std::ranges::replace(words, '_', ' ');
  return {name, "", words, values};
}

template <class Pairs>
void append(Pairs& to, Pairs more) {
  std::ranges::move(more, std::back_inserter(to));
}

}  // namespace

H5Document to_hdf5(const JournalData& data, std::vector<std::pair<std::string, std::string>> string_attributes,
                   std::vector<std::pair<std::string, int64_t>> int_attributes,
                   std::vector<std::pair<std::string, std::string>> texts) {
  H5Document document;
  document.string_attributes = {{"effllm_format", "metrics"}};
  // What the caller says of the run goes before what the journal's header says.
  const auto given = [&](std::string_view name) {
    return std::ranges::find(string_attributes, name, [](const auto& p) -> std::string_view { return p.first; }) !=
           string_attributes.end();
  };
  if (!data.run_id.empty() && !given("run_id")) document.string_attributes.emplace_back("run_id", data.run_id);
  if (!data.config_sha256.empty() && !given("config_sha256"))
    document.string_attributes.emplace_back("config_sha256", data.config_sha256);
  append(document.string_attributes, std::move(string_attributes));
  document.int_attributes = {{"format_version", kFormatVersion}};
  append(document.int_attributes, std::move(int_attributes));
  document.texts = std::move(texts);
  for (const JournalTable& table : data.tables) {
    H5Group group{table.kind, table.step, {}};
    for (const auto& [name, values] : table.columns) group.series.push_back(series(name, values));
    document.groups.push_back(std::move(group));
  }
  document.events = data.events;
  return document;
}

}  // namespace effllm
