// Claims held against what a study came to. One rule: a claim is reproduced where the whole interval of what was
// measured lies where the claim is true, not reproduced where none of it does, and undecided at this budget otherwise.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "sweep/claim.h"
#include "sweep/study_folder.h"

namespace effllm {

enum class ClaimVerdict { none, reproduced, not_reproduced, undecided };
std::string_view to_string(ClaimVerdict);

struct Finding {
  ClaimVerdict verdict = ClaimVerdict::none;
  std::string reason;        // of none: it fails closed, as the table does
  double value = 0;          // the difference, or the ratio
  double low = 0, high = 0;  // of its interval; equal where nothing scatters, as in sizes
  int64_t seeds = 0;
};
// By that rule.
ClaimVerdict judged(const ClaimOptions::Region& region, double low, double high);

struct JudgedClaim {
  ClaimOptions claim;
  // So many of all runs had ended when it was written down; `of` is 0 in folders of before.
  struct Date {
    int64_t ended = 0, of = 0;
  };
  Date date;
  Finding found;
  bool held_out = false;  // there are held-out seeds
  Date held_out_date;
  Finding confirmed;  // of these alone
};
// "written after 3 of 8 runs had ended: not a prediction"; empty where none had.
std::string late_text(const JudgedClaim::Date& date);

// The claims that the folder keeps. DataError where a file was damaged.
std::vector<JudgedClaim> judge_claims(const StudyFolder& folder);
// SHA-256 of the claims as they are kept; empty where there are none.
std::string claims_hash(const nlohmann::json& plan);

// Rows for people, the header first; none without claims.
std::vector<std::vector<std::string>> rows_of(const std::vector<JudgedClaim>& claims);
nlohmann::json to_json(const std::vector<JudgedClaim>& claims);
std::vector<std::string> footnotes(const std::vector<JudgedClaim>& claims);

}  // namespace effllm
