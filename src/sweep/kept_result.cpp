#include "sweep/kept_result.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace effllm {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kMostShown = 20;

// Why the file is none of this run; empty where it is.
std::string wrong_with(const json& kept, const json& run, std::initializer_list<const char*> objects) {
  for (const char* key : {"run", "arm", "point", "seed"})
    if (!kept.contains(key) || kept.at(key) != run.at(key)) return fmt::format("its {} is not that of the run", key);
  for (const char* key : objects)
    if (!kept.contains(key)) return fmt::format("it has no {}", key);
  return "";
}

std::optional<json> read_kept(const fs::path& file, const json& run, std::initializer_list<const char*> parts,
                              const char* what_to_do) {
  std::string why;
  try {
    auto kept = read_object_if_there(file);
    if (kept) why = wrong_with(*kept, run, parts);
    if (why.empty()) return kept;
  } catch (const DataError&) {
    why = "it is not a JSON object";
  }
  throw DataError("{} is damaged or of another version: {}. {}", file.string(), why, what_to_do);
}

}  // namespace

std::optional<json> result_if_there(const StudyFolder& folder, const json& run) {
  return read_kept(folder.result(run.at("run")), run, {"tokens", "data_order_sha256", "chosen_on", "reported"},
                   "Remove it: `effllm sweep` then scores the run again from its checkpoint, without training");
}

std::optional<json> failure_if_there(const StudyFolder& folder, const json& run) {
  return read_kept(folder.failure(run.at("run")), run, {"stage", "exit_code", "signal", "last_lines"},
                   "Remove it: `effllm sweep` then goes on with the run");
}

void require_kept(const StudyFolder& folder, const std::vector<json>& runs) {
  std::vector<std::string> lines;
  for (const json& r : runs)
    for (const auto read : {result_if_there, failure_if_there}) try {
        read(folder, r);
      } catch (const DataError& e) {
        lines.emplace_back(e.what());
      }
  if (lines.empty()) return;
  const size_t all = lines.size();
  lines.resize(std::min(all, kMostShown));
  if (all > kMostShown) lines.push_back(fmt::format("and {} more", all - kMostShown));
  throw DataError(join(lines, "\n"));
}

}  // namespace effllm
