#include "store/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace effllm {
namespace {

using nlohmann::json;

constexpr int64_t kFormatVersion = 1;
constexpr int64_t kMaxBytes = int64_t{2} << 30;
constexpr size_t kMaxLine = 1 << 20;
constexpr size_t kMaxCells = size_t{1} << 28;  // of all tables, 8 bytes each
constexpr size_t kMaxNames = 1024;             // of kinds, and of metrics of one kind
constexpr const char* kNotFinite = "not_finite";
constexpr std::array<std::string_view, 3> kMarkers = {"header", "event", "resume"};

// Kinds and metrics become names of groups and datasets, so they are held to what those can be.
bool plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name != "." && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  });
}

bool metric_name(std::string_view name) {
  return plain_name(name) && name != "type" && name != "step" && name != kNotFinite;
}

bool kind_name(std::string_view name) {
  return plain_name(name) && name != "events" && std::ranges::find(kMarkers, name) == kMarkers.end();
}

// Bytes that are not UTF-8 become U+FFFD: a log line must not fail because of what it reports.
std::string quoted(std::string_view text) { return json(text).dump(-1, ' ', false, json::error_handler_t::replace); }

// `-0` would be read as the integer.
std::string number(double v) { return v == 0 && std::signbit(v) ? "-0.0" : shortest(v); }

std::optional<double> not_finite(std::string_view text) {
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

// As texts stood, in earlier versions, what is not finite.
std::optional<double> as_number(const json& value) {
  if (value.is_number()) return value.get<double>();
  return value.is_string() ? not_finite(value.get_ref<const std::string&>()) : std::nullopt;
}

// Steps must be whole numbers of 64 bits; 5.0 or "5" are none.
std::optional<int64_t> integer(const json& record, const char* key) {
  const auto it = record.find(key);
  if (it == record.end() || !it->is_number_integer()) return std::nullopt;
  if (it->is_number_unsigned() && it->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()})
    return std::nullopt;
  return it->get<int64_t>();
}

std::string text_of(const json& record, const char* key) {
  const auto it = record.find(key);
  return it != record.end() && it->is_string() ? it->get<std::string>() : "";
}

// Rows as they come, before they are turned into columns of one length.
struct Rows {
  struct Row {
    int64_t step;
    std::vector<std::pair<size_t, double>> values;  // column, value
  };
  std::string kind;
  std::vector<std::string> names;
  std::vector<Row> rows;
};

// Takes the lines in order; a marker acts on what came before it.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  // False for a line that is no record.
  bool take(std::string_view line) {
    if (line.size() > kMaxLine) return false;
    const json record = json::parse(line, nullptr, false);
    if (!record.is_object()) return false;
    const std::string type = text_of(record, "type");
    if (type == "header") return take_header(record);
    const auto step = integer(record, type == "resume" ? "from_step" : "step");
    if (!step) return false;
    if (type == "resume") {
      // Rows are a function of the step and may not come twice; events tell what happened, and stay.
      for (Rows& rows : kinds_) std::erase_if(rows.rows, [&](const Rows::Row& row) { return row.step > *step; });
      add_event(*step, "info", fmt::format("resumed from {}", text_of(record, "checkpoint")), record);
    } else if (type == "event") {
      add_event(*step, text_of(record, "level"), text_of(record, "text"), record);
    } else {
      // Earlier versions wrote evaluations on the training split among the rows of training.
      const bool evaluation = type == "train" && record.contains("scored_tokens");
      return take_row(evaluation ? evaluation_kind(type) : type, *step, record);
    }
    return true;
  }

  // Turns rows into columns, once it is known that they fit in memory.
  JournalData finish() {
    size_t cells = 0;
    for (const Rows& rows : kinds_) {
      cells += rows.rows.size() * rows.names.size();
      if (cells > kMaxCells) throw DataError("{}: more than {} values; is it a journal of a run?", file_, kMaxCells);
    }
    for (Rows& rows : kinds_) {
      if (rows.rows.empty()) continue;
      JournalTable table{std::move(rows.kind), {}, {}};
      for (std::string& name : rows.names)
        table.columns.emplace_back(std::move(name),
                                   std::vector<double>(rows.rows.size(), std::numeric_limits<double>::quiet_NaN()));
      for (size_t i = 0; i < rows.rows.size(); ++i) {
        table.step.push_back(rows.rows[i].step);
        for (const auto& [column, value] : rows.rows[i].values) table.columns[column].second[i] = value;
      }
      data.tables.push_back(std::move(table));
    }
    return std::move(data);
  }

  JournalData data;

 private:
  // A run that is resumed writes another header; the last one counts.
  bool take_header(const json& record) {
    const auto version = integer(record, "format_version");
    if (!version) return false;
    if (*version > kFormatVersion)
      throw DataError("{}: journal format {} is newer than this program, which reads up to {}", file_, *version,
                      kFormatVersion);
    data.run_id = text_of(record, "run_id");
    data.config_sha256 = text_of(record, "config_sha256");
    return true;
  }

  void add_event(int64_t step, std::string level, std::string text, const json& record) {
    const auto wall = record.find("wall_s");
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    data.events.push_back(
        {step, wall == record.end() ? unknown : as_number(*wall).value_or(unknown), std::move(level), std::move(text)});
  }

  // Fields that are no numbers, or have a name that cannot be a metric's, are left to later versions.
  bool take_row(const std::string& kind, int64_t step, const json& record) {
    if (!kind_name(kind)) return false;
    auto it = std::ranges::find(kinds_, kind, &Rows::kind);
    if (it == kinds_.end()) it = kinds_.insert(it, Rows{kind, {}, {}});
    if (kinds_.size() > kMaxNames) throw DataError("{}: more than {} kinds of rows", file_, kMaxNames);
    Rows& rows = *it;
    Rows::Row row{step, {}};
    for (const auto& [name, value] : record.items())
      if (const auto v = as_number(value); v && metric_name(name))
        row.values.emplace_back(column(rows.names, name), *v);
    const std::string others = text_of(record, kNotFinite);
    for (size_t begin = 0; begin < others.size();) {
      const size_t end = std::min(others.find(' ', begin), others.size()), sign = others.find('=', begin);
      const std::string name = others.substr(begin, sign - begin);
      if (const auto v = sign < end ? not_finite(others.substr(sign + 1, end - sign - 1)) : std::nullopt;
          v && metric_name(name))
        row.values.emplace_back(column(rows.names, name), *v);
      begin = end + 1;
    }
    rows.rows.push_back(std::move(row));
    return true;
  }

  size_t column(std::vector<std::string>& names, const std::string& name) const {
    auto it = std::ranges::find(names, name);
    if (it == names.end()) it = names.insert(it, name);
    if (names.size() > kMaxNames) throw DataError("{}: more than {} metrics of one kind", file_, kMaxNames);
    return static_cast<size_t>(it - names.begin());
  }

  std::string file_;
  std::vector<Rows> kinds_;
};

}  // namespace

void Journal::reports(std::span<const Measured> row) {
  for (const Measured& m : row) {
    require(metric_name(m.name) && m.metric, "Journal: `{}` can't be the name of a metric", m.name);
    if (std::ranges::find(metrics_, m.name, &Measured::name) == metrics_.end()) metrics_.push_back(m);
  }
}

void Journal::header(std::string_view run_id, std::string_view config_sha256) {
  std::string line = fmt::format(R"({{"type":"header","format_version":{},"run_id":{},"config_sha256":{},"step":0)",
                                 kFormatVersion, quoted(run_id), quoted(config_sha256));
  for (const Measured& m : metrics_) line += fmt::format(R"(,"{}":0.0)", m.name);
  file_.append(line + fmt::format(R"(,"{}":"","level":"","text":"","from_step":0,"checkpoint":""}})", kNotFinite));
}

void Journal::row(std::string_view kind, int64_t step, std::span<const Measured> row) {
  require(kind_name(kind), "Journal: `{}` is not a kind of row", kind);
  std::string line = fmt::format(R"({{"type":"{}","step":{})", kind, step);
  std::string others;
  for (const auto& [name, value, metric] : row) {
    require(std::ranges::find(metrics_, name, &Measured::name) != metrics_.end(),
            "Journal: nobody said that `{}` is reported", name);
    line += fmt::format(R"(,"{}":{})", name, std::isfinite(value) ? number(value) : "null");
    if (!std::isfinite(value)) others += fmt::format("{}{}={}", others.empty() ? "" : " ", name, shortest(value));
  }
  if (!others.empty()) line += fmt::format(R"(,"{}":"{}")", kNotFinite, others);
  file_.append(line + "}");
}

void Journal::event(int64_t step, std::string_view level, std::string_view text, double wall_s) {
  std::string line =
      fmt::format(R"({{"type":"event","step":{},"level":{},"text":{})", step, quoted(level), quoted(text));
  if (std::isfinite(wall_s)) line += fmt::format(R"(,"wall_s":{})", number(wall_s));
  file_.append(line + "}");
}

void Journal::resume(int64_t from_step, std::string_view checkpoint) {
  file_.append(fmt::format(R"({{"type":"resume","from_step":{},"checkpoint":{}}})", from_step, quoted(checkpoint)));
}

std::string evaluation_kind(std::string_view split) { return split == "train" ? "eval_train" : std::string(split); }

const std::vector<double>* JournalTable::find(std::string_view name) const {
  for (const auto& [column, values] : columns)
    if (column == name) return &values;
  return nullptr;
}

const JournalTable* JournalData::find(std::string_view kind) const {
  const auto it = std::ranges::find(tables, kind, &JournalTable::kind);
  return it == tables.end() ? nullptr : &*it;
}

JournalData read_journal(const std::filesystem::path& path) {
  const std::string content = read_file(path, kMaxBytes);
  Reader reader(printable(path.string()));
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = content.find('\n', begin);
    const bool last = end == std::string::npos || end + 1 == content.size();
    const std::string_view line = std::string_view(content).substr(begin, end - begin);
    // The newline is what makes a line finished: without it even one that parses may still be growing.
    if (end == std::string::npos || (!line.empty() && !reader.take(line))) {
      if (!last) ++reader.data.bad_lines;  // the last was cut short, and is dropped
    }
    if (last) break;
    begin = end + 1;
  }
  return reader.finish();
}

}  // namespace effllm
