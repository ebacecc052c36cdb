// The table of a study: what each arm came to, and whether it differs from the baseline. It fails closed: what is
// missing, failed, chosen at the edge of what was tried, or measured otherwise has no verdict, and says why.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "stats/verdict.h"
#include "sweep/study_folder.h"

namespace effllm {

struct ArmRow {
  std::string name;
  int64_t parameters = 0, state_bytes = 0, tokens = 0;  // of each; trained on
  double flops_per_token = 0;                           // of training
  double decode_flops_per_token = 0;                    // of one token after the context; 0 in plans of before
  std::string matched;
  std::vector<std::pair<std::string, std::string>> chosen;  // tuned keys with the values that were best
  std::vector<std::string> notes;                           // runs that diverged: their values are out of the choice
  double chosen_on = 0;                                     // mean of the split that is chosen on, in the unit
  std::vector<double> scores;  // of the reported split, by seed; empty where nothing could be chosen
  Estimate reported;
  std::optional<Estimate> accuracy;         // of the reported split, where results have one
  std::optional<Estimate> training_choice;  // in the unit, where tokens are chosen otherwise than in training
  bool bound = false;                       // upper bounds of the likelihood
  bool baseline = false;
  bool apart = false;     // measured otherwise than the baseline: nothing of it is held against that
  bool paired = false;    // by seed with the baseline: both read the same data in the same order
  Comparison comparison;  // with the baseline; of it, a reason where nothing can be held against it
  double detectable = 0;  // the smallest difference that the test would have found in 80 % of such studies
};

struct TextRow {  // an n-gram model or a compressor
  std::string name, before;
  double value = 0;
};

struct StudyTable {
  std::string study, unit, split, chosen_on, protocol, corpus;
  int64_t seeds = 0, tune_seeds = 0;  // of which these choose
  // Of the unit: what a guess among all bytes costs (of tokens, among 65,536). Whoever is above has diverged.
  double guess = 0;
  std::vector<ArmRow> arms;
  std::vector<TextRow> texts;
  std::vector<std::string> texts_left_out;  // "PPMd: it is not installed"
};

// `baseline`: an arm's name; empty: the first. ConfigError for a name that no arm has, DataError for what is no study's
// folder or was damaged.
StudyTable compare_study(const StudyFolder& folder, const std::string& baseline);
// The same of a plan that is not the folder's own: its runs stand there.
StudyTable compare_study(const StudyFolder& folder, const nlohmann::json& plan, const std::string& baseline);

// Rows for people, the header first; with `exact`, all digits that are stored, for programs.
std::vector<std::vector<std::string>> rows_of(const StudyTable& table, bool exact = false);
nlohmann::json to_json(const StudyTable& table);
// "seed 1": what chooses the values that are tuned.
std::string choosers(const StudyTable& table);
// What stands below the table: how differences and verdicts were come to, and notes of arms.
std::vector<std::string> footnotes(const StudyTable& table);

}  // namespace effllm
