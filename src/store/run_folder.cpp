#include "store/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace effllm {
namespace fs = std::filesystem;

RunFolder RunFolder::choose(const fs::path& runs, const std::string& name, bool fresh) {
  std::error_code error;
  fs::path path = runs / name;
  const auto taken = [&] {
    return fs::exists(path, error) && (!fs::is_directory(path, error) || !list_folder(path).empty());
  };
  for (int n = 2; fresh && taken(); ++n) path = runs / fmt::format("{}-{}", name, n);
  return RunFolder(path);
}

RunFolder RunFolder::create(const fs::path& runs, const std::string& name, bool fresh) {
  RunFolder folder = choose(runs, name, fresh);
  for (const char* part : {"ckpt", "samples", "eval"}) {
    std::error_code error;
    fs::create_directories(folder.path() / part, error);
    if (error)
      throw IoError("the run folder {} can't be made: {}; choose another place with --runs", folder.path().string(),
                    error.message());
  }
  return folder;
}

fs::path RunFolder::checkpoint(int64_t step) const {
  return path_ / "ckpt" / fmt::format("step_{:09}.safetensors", step);
}

int64_t RunFolder::sweep() const {
  std::error_code ignored;
  int64_t swept = fs::remove(best().string() + ".next", ignored) ? 1 : 0;  // of earlier versions
  for (const fs::path& folder : {path_, path_ / "ckpt", samples(), evaluations()}) swept += sweep_stale_temps(folder);
  return swept;
}

std::vector<int64_t> RunFolder::steps() const {
  std::vector<int64_t> all;
  std::error_code error;
  if (!fs::exists(path_ / "ckpt", error)) return all;
  for (const fs::path& file : list_folder(path_ / "ckpt")) {
    const std::string name = file.filename().string();
    if (!name.starts_with("step_") || !name.ends_with(".safetensors")) continue;
    int64_t step = 0;
    const char *from = name.data() + 5, *to = name.data() + name.size() - 12;
    if (const auto [end, bad] = std::from_chars(from, to, step); bad == std::errc() && end == to) all.push_back(step);
  }
  std::ranges::sort(all);
  return all;
}

std::optional<int64_t> RunFolder::newest_valid(std::vector<std::string>& refused) const {
  const auto all = steps();
  for (auto it = all.rbegin(); it != all.rend(); ++it) try {
      const SafetensorsFile file(checkpoint(*it));
      if (file.metadata().contains("digest")) return *it;
      refused.push_back(fmt::format("{}: no digest", checkpoint(*it).string()));
    } catch (const Error& e) {
      refused.push_back(e.what());
    }
  return std::nullopt;
}

void RunFolder::mark_best(int64_t step) const { replace_by_link(checkpoint(step), best()); }

std::optional<fs::path> RunFolder::set_best_aside(int64_t step) const {
  std::error_code error;
  if (!fs::exists(best(), error)) return std::nullopt;
  const fs::path to = path_ / "ckpt" / fmt::format("best_until_{:09}.safetensors", step);
  fs::rename(best(), to, error);
  if (error) throw IoError("{}: {}", to.string(), error.message());
  return to;
}

void RunFolder::rotate(int64_t keep) const {
  const auto all = steps();
  std::error_code ignored;
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) fs::remove(checkpoint(all[i]), ignored);
}

fs::path find_checkpoint(const fs::path& run_or_file) {
  std::error_code error;
  if (fs::is_regular_file(run_or_file, error)) return run_or_file;
  if (!fs::is_directory(run_or_file, error))
    throw CheckpointError("{}: no such run folder or checkpoint", run_or_file.string());
  const RunFolder folder(run_or_file);
  if (fs::exists(folder.best(), error)) return folder.best();
  const auto all = folder.steps();
  if (all.empty())
    throw CheckpointError("{}: the folder holds no checkpoint (ckpt/*.safetensors)", run_or_file.string());
  return folder.checkpoint(all.back());
}

}  // namespace effllm
