#include <algorithm>
#include <iterator>

#include "store/journal.h"

namespace effllm {
namespace {

constexpr int64_t kFormatVersion = 1;  // of metrics.h5

H5Series series(const std::string& name, const std::vector<double>& values, std::span<const Measured> metrics) {
  if (const auto known = std::ranges::find(metrics, name, &Measured::name); known != metrics.end())
    return {name, std::string(known->metric->unit), std::string(known->metric->title), values};
  std::string words = name;  // of another version
  std::ranges::replace(words, '_', ' ');
  return {name, "", words, values};
}

template <class Pairs>
void append(Pairs& to, Pairs more) {
  std::ranges::move(more, std::back_inserter(to));
}

}  // namespace

H5Document to_hdf5(const JournalData& data, std::span<const Measured> metrics,
                   std::vector<std::pair<std::string, std::string>> string_attributes,
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
    for (const auto& [name, values] : table.columns) group.series.push_back(series(name, values, metrics));
    document.groups.push_back(std::move(group));
  }
  document.events = data.events;
  return document;
}

}  // namespace effllm
