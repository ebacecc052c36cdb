#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/escapes.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "data/corpus.h"
#include "json_output.h"
#include "shared.h"
#include "train/loaded_model.h"

namespace effllm::app {

namespace {

// What the text is, as JSON.
nlohmann::json text_json(const Corpus& corpus) {
  const TextFacts& f = corpus.facts();
  const bool bytes = f.kind == TextKind::bytes;
  nlohmann::json j = {{"text", to_string(f.kind)}, {"separator_found", corpus.separator_found()}};
  j["characters"] = bytes ? nlohmann::json() : nlohmann::json(f.characters);
  return j;
}

void say_of_separator(const Corpus& corpus) {
  const std::string& separator = corpus.manifest().document_separator;
  if (!separator.empty() && !corpus.separator_found())
    print_stderr(
        fmt::format("warning: the separator `{}` never occurs in the text: it is one document\n", escape(separator)));
}

}  // namespace

ExitCode prepare_data(const Common& common, const PrepareArgs& args) {
  const std::filesystem::path file(args.file);
  const std::string name = args.name.empty() ? file.stem().string() : args.name;
  prepare_corpus(file, name, args.folder, args.train, args.val, unescape(args.separator), args.force);
  const std::filesystem::path manifest = std::filesystem::path(args.folder) / (name + ".yaml");
  const Corpus corpus = Corpus::open(manifest.string());
  const Manifest& m = corpus.manifest();
  if (common.json) {
    nlohmann::json j = {{"name", m.name}, {"bytes", m.bytes}, {"sha256", m.sha256}};
    j.update(text_json(corpus));
    print_json(j);
  } else {
    fmt::print("{}: {} bytes, SHA-256 {}\ntext: {}\n", manifest.string(), m.bytes, m.sha256,
               describe(corpus.facts(), corpus.text()));
  }
  say_of_separator(corpus);
  if (!common.quiet)
    print_stderr(fmt::format("next:  {} train -c configs/quickstart.yaml --set data.corpus={}\n",
                             shell_word(common.program),
                             args.folder == "data" ? m.name : shell_word(args.folder + "/" + m.name + ".yaml")));
  return ExitCode::ok;
}

ExitCode show_data(const Common& common, const std::string& name) {
  const Corpus corpus = Corpus::open(name);
  const Manifest& m = corpus.manifest();
  const auto chars = build_tokenizer("byte", corpus.text());
  std::vector<std::vector<std::string>> rows = {{"split", "bytes", "documents"}};
  nlohmann::json j = {
      {"name", m.name}, {"title", m.title}, {"license", m.license}, {"sha256", m.sha256}, {"bytes", m.bytes}};
  j.update(text_json(corpus));
  for (Split s : {Split::train, Split::val, Split::test}) {
    if (corpus.text(s).empty()) continue;
    const TokenizedText t = corpus.tokenize(*chars, s);
    rows.push_back(
        {std::string(to_string(s)), fmt::format("{}", t.bytes), fmt::format("{}", t.document_starts.size())});
    j["splits"][std::string(to_string(s))] = {{"bytes", t.bytes}, {"documents", t.document_starts.size()}};
  }
  if (common.json)
    print_json(j);
  else
    fmt::print("{}: {}\nlicence: {}\nSHA-256: {}\ntext: {}\n\n{}", m.name, m.title, m.license, m.sha256,
               describe(corpus.facts(), corpus.text()), table(rows));
  say_of_separator(corpus);
  return ExitCode::ok;
}

ExitCode export_weights(const Common& common, const ExportArgs& args) {
  const LoadedModel m = load_model(args.model);
  export_model(m, args.folder);
  if (common.json)
    print_json(
        {{"model", args.folder + "/model.safetensors"}, {"config", args.folder + "/effllm.json"}, {"step", m.step}});
  else if (!common.quiet)
    fmt::print("{0}/model.safetensors, {0}/effllm.json\n", args.folder);
  return ExitCode::ok;
}

}  // namespace effllm::app
