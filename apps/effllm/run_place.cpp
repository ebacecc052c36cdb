#include "run_place.h"

#include <algorithm>
#include <filesystem>

#include "store/run_folder.h"

namespace effllm::app {
namespace {

namespace fs = std::filesystem;

bool is_run(const fs::path& folder) {
  std::error_code failure;
  const RunFolder run(folder);
  return fs::exists(run.journal(), failure) && fs::is_directory(folder / "ckpt", failure);
}

// The run folder that `folder` is, or is in; empty where there is none.
fs::path run_around(const fs::path& folder) {
  std::error_code failure;
  for (fs::path at = fs::absolute(folder, failure).lexically_normal(); !failure && at != at.root_path();
       at = at.parent_path())
    if (is_run(at)) return at;
  return {};
}

void refuse_nesting(const fs::path& runs) {
  if (const fs::path around = run_around(runs); !around.empty())
    throw ConfigError(
        "{} is a run's folder: another run would be nested in it. Start it from another folder, or say with --runs "
        "where its folder is to be",
        around.string());
}

// The folder of a run whose own configuration `file` is, as it was written: "runs/wide", ".".
fs::path own_run(const fs::path& file) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const RunFolder run(folder);
  const bool own = file.filename() == run.config().filename() || file.filename() == run.resolved().filename();
  return own && is_run(folder) ? folder : fs::path();
}

}  // namespace

TrainArgs with_place(TrainArgs args) {
  if (!args.runs.empty()) {
    refuse_nesting(args.runs);
    return args;
  }
  args.runs = "runs";
  const bool named =
      !args.name.empty() || std::ranges::any_of(args.set, [](const std::string& s) { return s.starts_with("name="); });
  if (const fs::path run = args.resume.empty() || named ? fs::path() : own_run(args.config); !run.empty()) {
    std::error_code failure;
    args.name = fs::absolute(run, failure).lexically_normal().filename().string();
    if (args.name.empty()) args.name = fs::canonical(run, failure).filename().string();  // it was written as `..`
    args.runs = (run / "..").lexically_normal().string();
    while (args.runs.size() > 1 && args.runs.ends_with('/')) args.runs.pop_back();
    return args;
  }
  refuse_nesting(args.runs);
  return args;
}

}  // namespace effllm::app
