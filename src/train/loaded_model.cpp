#include "train/loaded_model.h"

#include <exception>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/escapes.h"
#include "io/checkpoint.h"
#include "io/file.h"
#include "io/run_folder.h"

namespace effllm {
namespace {

nlohmann::json to_json(const ConfigNode& n) {
  if (n.is_map()) {
    nlohmann::json o = nlohmann::json::object();
    for (const auto& e : n.entries()) o[e.key] = to_json(e.value);
    return o;
  }
  if (n.is_list()) {
    nlohmann::json a = nlohmann::json::array();
    for (const auto& i : n.items()) a.push_back(to_json(i));
    return a;
  }
  if (n.is_null()) return nullptr;
  if (n.quoted()) return n.text();
  const nlohmann::json v = nlohmann::json::parse(n.text(), nullptr, false);
  return v.is_discarded() || v.is_structured() ? nlohmann::json(n.text()) : v;
}

}  // namespace

RunConfig config_in(const SafetensorsFile& checkpoint, const std::string& path) {
  ConfigNode root = parse_config(metadata_of(checkpoint, path, "config_yaml"), path + " (config_yaml)");
  const ConfigNode* name = root.find("name");
  const std::string called = name ? name->text() : "";
  root.erase("name");
  RunConfig c = read_run_config(root);
  if (!called.empty()) c.name = called;
  return c;
}

LoadedModel load_model(const std::filesystem::path& run_or_checkpoint, DType type) {
  LoadedModel m;
  m.checkpoint = find_checkpoint(run_or_checkpoint);
  const std::string path = m.checkpoint.string();
  const SafetensorsFile file(m.checkpoint);
  require_checkpoint(file, path);
  m.config = config_in(file, path);
  m.tokenizer = tokenizer_from_json(metadata_of(file, path, "vocab"));
  m.data_sha256 = metadata_of(file, path, "data_sha256");
  if (const auto found = file.metadata().find("corpus_manifest"); found != file.metadata().end())
    m.manifest = path_of_text(found->second).string();
  m.step = std::strtoll(metadata_of(file, path, "step").c_str(), nullptr, 10);
  m.model = std::make_unique<LanguageModel>(m.config.model, m.tokenizer->vocab_size());
  m.model->params().materialize(static_cast<uint64_t>(m.config.train.seed), type);
  load_parameters(file, path, m.model->params());
  return m;
}

Corpus open_corpus(const LoadedModel& m) {
  const auto fits = [&](const Corpus& c) { return c.manifest().sha256 == m.data_sha256; };
  std::optional<Corpus> usual;
  std::exception_ptr error;
  try {
    usual = Corpus::open(m.config.data.corpus);
    if (fits(*usual) || m.manifest.empty()) return *std::move(usual);
  } catch (const DataError&) {
    error = std::current_exception();
  }
  try {
    if (!m.manifest.empty())
      if (Corpus then = Corpus::open(m.manifest); fits(then)) return then;
  } catch (const Error&) {  // what is wrong in the usual places says more
  }
  if (usual) return *std::move(usual);
  std::rethrow_exception(error);
}

void export_model(const LoadedModel& m, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw IoError("{}: {}", folder.string(), error.message());
  const std::string yaml = to_yaml(write_run_config(m.config));
  save_checkpoint(folder / "model.safetensors", m.model->params(), {},
                  {{"config_yaml", yaml},
                   {"vocab", m.tokenizer->to_json()},
                   {"data_sha256", m.data_sha256},
                   {"step", std::to_string(m.step)}});
  nlohmann::json config = to_json(write_run_config(m.config));
  config["vocab_size"] = m.model->vocab();
  write_file_atomic(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace effllm
