#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "data/corpus.h"
#include "train/loaded_model.h"

namespace effllm::app {

ExitCode prepare_data(const Common& common, const PrepareArgs& args) {
  std::string separator = args.separator;
  for (size_t at; (at = separator.find("\\n")) != separator.npos;) separator.replace(at, 2, "\n");
  const std::filesystem::path file(args.file);
  const std::string name = args.name.empty() ? file.stem().string() : args.name;
  const Manifest m = prepare_corpus(file, name, args.folder, args.train, args.val, separator, args.force);
  if (common.json)
    fmt::print("{}\n", nlohmann::json{{"name", m.name}, {"bytes", m.bytes}, {"sha256", m.sha256}}.dump());
  else
    fmt::print("{}/{}.yaml: {} bytes, SHA-256 {}\n", args.folder, m.name, m.bytes, m.sha256);
  if (!common.quiet)
    print_stderr(fmt::format("next:  effllm train -c configs/quickstart.yaml --set data.corpus={}\n", m.name));
  return ExitCode::ok;
}

ExitCode show_data(const Common& common, const std::string& name) {
  const Corpus corpus = Corpus::open(name);
  const Manifest& m = corpus.manifest();
  const auto chars = build_tokenizer("byte", corpus.text());
  std::vector<std::vector<std::string>> rows = {{"split", "bytes", "documents"}};
  nlohmann::json j = {
      {"name", m.name}, {"title", m.title}, {"license", m.license}, {"sha256", m.sha256}, {"bytes", m.bytes}};
  for (Split s : {Split::train, Split::val, Split::test}) {
    if (corpus.text(s).empty()) continue;
    const TokenizedText t = corpus.tokenize(*chars, s);
    rows.push_back(
        {std::string(to_string(s)), fmt::format("{}", t.bytes), fmt::format("{}", t.document_starts.size())});
    j["splits"][std::string(to_string(s))] = {{"bytes", t.bytes}, {"documents", t.document_starts.size()}};
  }
  if (common.json)
    fmt::print("{}\n", j.dump());
  else
    fmt::print("{}: {}\nlicence: {}\nSHA-256: {}\n\n{}", m.name, m.title, m.license, m.sha256, table(rows));
  return ExitCode::ok;
}

ExitCode export_weights(const Common& common, const ExportArgs& args) {
  const LoadedModel m = load_model(args.model);
  export_model(m, args.folder);
  if (common.json)
    fmt::print("{}\n", nlohmann::json{{"model", args.folder + "/model.safetensors"},
                                      {"config", args.folder + "/config.json"},
                                      {"step", m.step}}
                           .dump());
  else if (!common.quiet)
    fmt::print("{0}/model.safetensors, {0}/config.json\n", args.folder);
  return ExitCode::ok;
}

}  // namespace effllm::app
