#include <fmt/format.h>

#include "base/json.h"
#include "commands.h"
#include "data/hugging_face.h"
#include "json_output.h"
#include "kernels/prepare.h"
#include "store/export_folder.h"
#include "store/file.h"
#include "train/loaded_model.h"

namespace effllm::app {
namespace {

void export_tokenizer(const LoadedModel& m, const std::filesystem::path& folder, bool replace) {
  const HuggingFaceTokenizer files =
      hugging_face(*m.tokenizer, std::min(trained_context(m.config), static_cast<int64_t>(kMostTokens)));
  begin_export(folder, {"tokenizer.json", "tokenizer_config.json"}, replace);
  write_file_atomic(folder / "tokenizer.json", files.tokenizer);
  write_file_atomic(folder / "tokenizer_config.json", files.config);
}

}  // namespace

ExitCode export_run(const Common& common, const ExportArgs& args) {
  prepare_threads();
  const LoadedModel m = load_model(args.model);
  const bool weights = args.format == "weights";
  weights ? export_model(m, args.folder, args.force) : export_tokenizer(m, args.folder, args.force);
  const std::string first = args.folder + (weights ? "/model.safetensors" : "/tokenizer.json"),
                    second = args.folder + (weights ? "/effllm.json" : "/tokenizer_config.json");
  if (common.json)
    print_json({{weights ? "model" : "tokenizer", first}, {"config", second}, {"step", m.step}});
  else if (!common.quiet)
    fmt::print("{}, {}\n", first, second);
  return ExitCode::ok;
}

}  // namespace effllm::app
