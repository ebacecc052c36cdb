// metrics.jsonl: what a run reports, one JSON object to a line, only ever appended to. It is the source that
// metrics.h5 is made from, and it is meant for jq and pandas too.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/file.h"
#include "store/hdf5.h"
#include "store/metrics.h"

namespace effllm {

// The kind of an evaluation's rows, by the split that was scored: "val", "test", or "eval_train": "train" are the rows
// of training itself.
std::string evaluation_kind(std::string_view split);

// Writes lines; each is one write(2), so a kill can cut only the last. IoError where the disk refuses one: the caller
// decides whether the run goes on.
class Journal {
 public:
  // Appends to what is there. After a last line that was cut short, a newline goes before the next line.
  explicit Journal(const std::filesystem::path& path) : file_(path) {}

  // Rows may hold what this row does: said before the first, and before the header.
  void reports(std::span<const Measured> row);
  std::span<const Measured> metrics() const { return metrics_; }  // all that was said
  // First line of a run, and of what was added by who goes on with it. It holds a value of its type for every key that
  // a later line may have: readers that guess a table's columns from its first lines then know them all.
  void header(std::string_view run_id, std::string_view config_sha256);
  // `kind` ("train", "val" ...) is of [A-Za-z0-9_.-]. JSON has no number that isn't finite: it is null, and
  // `not_finite` says which ("loss=nan ppl=inf").
  void row(std::string_view kind, int64_t step, std::span<const Measured> row);
  // `wall_s`: seconds of training, where known.
  void event(int64_t step, std::string_view level, std::string_view text,
             double wall_s = std::numeric_limits<double>::quiet_NaN());
  // The run goes on from `checkpoint`: readers drop the rows written so far that have a step > `from_step`.
  void resume(int64_t from_step, std::string_view checkpoint);
  void sync() { file_.sync(); }  // at checkpoints and at the end

 private:
  AppendFile file_;
  std::vector<Measured> metrics_;  // that were announced, without values
};

// The rows of one kind by column; every column is as long as `step`, with NaN where a row had no such value.
struct JournalTable {
  std::string kind;
  std::vector<int64_t> step;
  std::vector<std::pair<std::string, std::vector<double>>> columns;
  const std::vector<double>* find(std::string_view name) const;  // null where missing
};

struct JournalData {
  std::string run_id, config_sha256;                      // of the last header; empty where there is none
  std::vector<JournalTable> tables;                       // by first appearance
  std::vector<H5Document::Event> events;                  // all of them; each resumption is an event too
  int64_t bad_lines = 0;                                  // dropped before the last: cut short by an earlier end
  const JournalTable* find(std::string_view kind) const;  // null where missing
};

// Reads what a Journal wrote, even while it is being written; headers are no rows. IoError where it cannot be read,
// DataError for a file of a newer format or one whose table would be absurdly large.
JournalData read_journal(const std::filesystem::path& path);

// The journal as a document for write_hdf5: a group per kind, units and titles of the `metrics` that it names, events,
// format name and version; then the caller's attributes and texts.
H5Document to_hdf5(const JournalData& data, std::span<const Measured> metrics,
                   std::vector<std::pair<std::string, std::string>> string_attributes = {},
                   std::vector<std::pair<std::string, int64_t>> int_attributes = {},
                   std::vector<std::pair<std::string, std::string>> texts = {});

}  // namespace effllm
