// The parts of a study's page, each HTML.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "sweep/judge.h"
#include "sweep/speedup.h"

namespace effllm {

// What a section is made of.
struct ReportSources {
  const StudyFolder& folder;
  const StudyTable& table;
  nlohmann::json plan;
  std::vector<ArmCurves> curves;
  ArmSpeedups speedups;
  std::vector<JudgedClaim> claims;
};

std::string verdict_section(const ReportSources& s);   // sentences and the table
std::string claim_section(const ReportSources& s);     // empty without claims
std::string interval_section(const ReportSources& s);  // means, and differences to the baseline
std::string state_section(const ReportSources& s);     // scores over bytes of state; empty where all arms have as many
std::string curve_section(const ReportSources& s);     // loss over tokens, FLOPs, seconds; and where to zoom
std::string speedup_section(const ReportSources& s);   // what an arm saves; empty for one arm
std::string choice_section(const ReportSources& s);    // means on the split that is chosen on, of all that was tried
std::string missing_section(const ReportSources& s);   // what failed, is missing or has no verdict
std::string facts_section(const ReportSources& s);     // settings, versions, machines, hashes

// The curves for report.js.
nlohmann::json curve_data(const ReportSources& s);

}  // namespace effllm
