#include <fmt/format.h>

#include <array>

#include "base/escapes.h"
#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "commands.h"
#include "data/task_data.h"
#include "json_output.h"
#include "shared.h"
#include "train/loaded_model.h"
#include "train/preflight.h"

namespace effllm::app {

namespace {

// What the text is, as JSON.
nlohmann::json text_json(const Corpus& corpus) {
  const TextFacts& f = corpus.facts();
  const bool bytes = f.kind == TextKind::bytes;
  nlohmann::json j = {{"text", to_string(f.kind)},
                      {"byte_order_mark", !byte_order_note(corpus.text()).empty()},
                      {"separator_found", corpus.separator_found()}};
  j["characters"] = bytes ? nlohmann::json() : nlohmann::json(f.characters);
  return j;
}

// What is odd about the text, and most often not meant.
void say_doubts(const Corpus& corpus) {
  if (const std::string note = byte_order_note(corpus.text()); !note.empty())
    print_stderr(fmt::format("warning: the text {}\n", note));
  const std::string& separator = corpus.manifest().document_separator;
  if (!separator.empty() && !corpus.separator_found())
    print_stderr(
        fmt::format("warning: the separator `{}` never occurs in the text: it is one document\n", escape(separator)));
}

// A command that trains on the corpus, called `name` from here, where there is one that works; otherwise what a
// configuration would say.
std::string next_step(const Common& common, const Corpus& corpus, const std::string& name) {
  const std::string config = "configs/quickstart.yaml";
  std::vector<std::string> set = {"data.corpus=" + name};
  if (corpus.text(Split::val).size() < 2) set.emplace_back("eval.split=train");
  try {
    const RunConfig c = load_run_config(config, set);
    const auto tokens = corpus.tokenize(*corpus.tokenizer(c.data.tokenizer), Split::train).tokens.size();
    if (static_cast<int64_t>(tokens) > c.train.context) {  // a row needs one more than its length
      std::string command = fmt::format("next:  {} train -c {}", shell_word(common.program), config);
      for (const std::string& s : set) command += " --set " + shell_word(s);
      return command + "\n";
    }
  } catch (const Error&) {  // there is no such file here, or it is no longer what it was
  }
  return fmt::format("next:  a configuration that says data.corpus: {}{}\n", name,
                     set.size() > 1 ? " and eval.split: train (there is no val split)" : "");
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
    fmt::print("{}: {}, SHA-256 {}\ntext: {}\n", manifest.string(), counted(m.bytes, "byte"), m.sha256,
               describe(corpus.facts(), corpus.text()));
  }
  say_doubts(corpus);
  if (!common.quiet)
    print_stderr(next_step(common, corpus, args.folder == "data" ? m.name : args.folder + "/" + m.name + ".yaml"));
  return ExitCode::ok;
}

ExitCode show_data(const Common& common, const std::string& name) {
  const Corpus corpus = Corpus::open(name);
  const Manifest& m = corpus.manifest();
  const auto any = corpus.tokenizer(DataOptions().tokenizer);
  std::vector<std::vector<std::string>> rows = {{"split", "bytes", "documents"}};
  nlohmann::json j = {{"name", m.name},       {"title", m.title},   {"license", m.license},
                      {"sources", m.sources}, {"sha256", m.sha256}, {"bytes", m.bytes}};
  j.update(text_json(corpus));
  for (Split s : {Split::train, Split::val, Split::test}) {
    if (corpus.text(s).empty()) continue;
    const TokenizedText t = corpus.tokenize(*any, s);
    rows.push_back(
        {std::string(to_string(s)), fmt::format("{}", t.bytes), fmt::format("{}", t.document_starts.size())});
    j["splits"][std::string(to_string(s))] = {{"bytes", t.bytes}, {"documents", t.document_starts.size()}};
  }
  if (common.json)
    print_json(j);
  else
    fmt::print("{}: {}\nlicence: {}\n{}SHA-256: {}\ntext: {}\n\n{}", m.name, m.title, m.license,
               m.sources.empty() ? "" : fmt::format("sources: {}\n", fmt::join(m.sources, ", ")), m.sha256,
               describe(corpus.facts(), corpus.text()), table(rows));
  say_doubts(corpus);
  return ExitCode::ok;
}

ExitCode show_samples(const Common& common, const SampleArgs& args) {
  const RunConfig c = load_run_config(args.config, args.set);
  if (!c.data.task) throw ConfigError("{} trains on a corpus: only a task (data.task) has samples", args.config);
  const Corpus corpus = corpus_of(c);
  const TaskData& task = *corpus.task();
  const Split split = parse_split(args.split);
  nlohmann::json j = {
      {"task", task.settings()}, {"sha256", corpus.manifest().sha256}, {"samples", nlohmann::json::array()}};
  std::string text;
  for (int64_t i = args.first; i < args.first + args.count; ++i) {
    const Sample s = task.sample(split, i);
    std::vector<std::string> tokens, targets;
    for (const int32_t id : s.tokens) tokens.push_back(task.task().symbol(id));
    for (const int32_t id : s.targets) targets.push_back(id == kIgnoredTarget ? "" : task.task().symbol(id));
    j["samples"].push_back({{"number", i}, {"tokens", tokens}, {"targets", targets}, {"difficulty", s.difficulty}});
    std::array<std::string, 2> lines = {"", ""};
    for (size_t t = 0; t < tokens.size(); ++t) {
      const size_t width = std::max(tokens[t].size(), targets[t].size()) + 1;
      lines[0] += fmt::format("{:<{}}", tokens[t], width);
      lines[1] += fmt::format("{:<{}}", targets[t], width);
    }
    for (std::string& l : lines) l.resize(l.find_last_not_of(' ') + 1);
    text += fmt::format("{} {}\n  tokens:  {}\n  targets: {}\n", args.split, i, lines[0], lines[1]);
  }
  if (common.json)
    print_json(j);
  else
    fmt::print("{}\nSHA-256: {}\n\n{}", task.settings(), corpus.manifest().sha256, text);
  return ExitCode::ok;
}

}  // namespace effllm::app
