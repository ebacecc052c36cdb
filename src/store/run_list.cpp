#include "store/run_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/escapes.h"
#include "base/json.h"
#include "base/text.h"
#include "config/node.h"
#include "store/file.h"
#include "store/run_folder.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kMostBytes = 1 << 20;

// The object in a file, or empty with `problem` set.
json read_object(const fs::path& file, std::string& problem) {
  std::string text;
  try {
    text = read_file(file, kMostBytes);
  } catch (const IoError& e) {
    problem = e.what();
    return json::object();
  }
  json object = json::parse(text, nullptr, false);
  if (object.is_object()) return object;
  problem = fmt::format("{} is not a JSON object", printable(file.string()));
  return json::object();
}

// Empty where the key is missing or null; another type is a problem.
template <class T>
std::optional<T> value_of(const json& object, const char* key, const fs::path& file, std::string& problem) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  const bool right = std::is_same_v<T, std::string> ? it->is_string()
                     : std::is_same_v<T, bool>      ? it->is_boolean()
                     : std::is_integral_v<T>        ? it->is_number_integer()
                                                    : it->is_number();
  if (right) return it->get<T>();
  if (problem.empty()) problem = fmt::format("{}: `{}` is {}", printable(file.string()), key, it->type_name());
  return std::nullopt;
}

// The scalar at `section.key`; empty where there is none.
std::string text_at(const ConfigNode& root, const char* section, const char* key) {
  const ConfigNode* map = root.find(section);
  const ConfigNode* value = map && map->is_map() ? map->find(key) : nullptr;
  return value && value->is_scalar() ? value->text() : "";
}

std::optional<int64_t> integer_at(const ConfigNode& root, const char* section, const char* key) {
  const std::string text = text_at(root, section, key);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

void add_what_losses_belong_to(const RunFolder& run, RunSummary& s) {
  try {
    const ConfigNode root = parse_config(read_file(run.resolved(), kMostBytes), run.resolved().string());
    if (!root.is_map()) return;
    s.corpus = printable(path_of_text(text_at(root, "data", "corpus")).stem().string());
    s.tokenizer = text_at(root, "data", "tokenizer");
    if (const std::string task = text_at(root, "data", "task"); !task.empty() && task != "none") {
      s.corpus = printable(task);
      s.tokenizer = "symbols";
    }
    s.split = text_at(root, "eval", "split");
    s.protocol = text_at(root, "eval", "protocol");
    s.context = integer_at(root, "train", "context");
    s.eval_tokens = integer_at(root, "eval", "tokens");
    if (!s.eval_tokens) s.eval_tokens = s.context;
    s.eval_stride = integer_at(root, "eval", "stride");
    s.eval_max_tokens = integer_at(root, "eval", "max_tokens");
    s.reset = text_at(root, "data", "reset");
  } catch (const Error&) {  // a run that trains at this moment for the first time, or of an earlier version
  }
}

RunSummary summary_of(const RunFolder& run) {
  RunSummary s;
  s.name = printable(run.path().filename().string());
  std::error_code error;
  const fs::path status = run.status(), provenance = run.provenance();
  const json now = read_object(status, s.problem);
  s.status = value_of<std::string>(now, "status", status, s.problem).value_or("");
  s.best_loss = value_of<double>(now, "best_val", status, s.problem);
  s.bound = value_of<bool>(now, "bound", status, s.problem).value_or(false);
  s.train_bound = value_of<bool>(now, "train_bound", status, s.problem).value_or(s.bound);
  s.train_loss = value_of<double>(now, "train_loss", status, s.problem);
  s.step = value_of<int64_t>(now, "step", status, s.problem);
  s.tokens = value_of<int64_t>(now, "tokens", status, s.problem);
  s.wall_s = value_of<double>(now, "wall_s", status, s.problem);
  s.save_s = value_of<double>(now, "save_s", status, s.problem);
  s.other_s = value_of<double>(now, "other_s", status, s.problem);
  s.progress = value_of<double>(now, "progress", status, s.problem);
  if (s.problem.empty() && s.status.empty()) s.problem = fmt::format("{} has no `status`", printable(status.string()));
  std::string another;
  const json origin = read_object(provenance, another);
  s.parameters = value_of<int64_t>(origin, "parameters", provenance, another);
  s.data_hash = value_of<std::string>(origin, "data_hash", provenance, another).value_or("");
  add_what_losses_belong_to(run, s);
  if (s.problem.empty() && s.status != "grown") s.problem = another;  // what has grown gets one as it goes on
  // Who trains holds the lock to its end; the kernel frees it when the process dies.
  if (s.status == "running" && !is_locked(run.path())) {
    s.status = value_of<std::string>(read_object(status, s.problem), "status", status, s.problem).value_or("");
    if (s.status == "running") s.status = "killed";  // it did not end while this was read
  }
  if (!s.problem.empty()) s.status = "damaged";
  return s;
}

}  // namespace

RunList list_runs(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw DataError("{}: there is no such folder", printable(folder.string()));
  RunList list;
  for (const fs::path& path : list_folder(folder)) {
    std::error_code ignored;
    const std::string name = path.filename().string();
    if (name.starts_with('.') || !fs::is_directory(path, ignored)) continue;
    const RunFolder run(path);
    const auto has = [&](const fs::path& file) { return fs::exists(file, ignored); };
    if (has(run.status()) || has(run.journal()) || has(run.resolved()))
      list.runs.push_back(summary_of(run));
    else
      list.passed_over.emplace_back(printable(name), "no run folder: it has no status.json and no metrics.jsonl");
  }
  std::ranges::sort(list.runs, {}, &RunSummary::name);
  std::ranges::sort(list.passed_over);
  return list;
}

}  // namespace effllm
