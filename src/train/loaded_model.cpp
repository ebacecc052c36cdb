#include "train/loaded_model.h"

#include <exception>
#include <optional>

#include "base/json.h"
#include "base/out_of_memory.h"
#include "checkpoint/checkpoint.h"
#include "store/export_folder.h"
#include "store/file.h"
#include "store/run_folder.h"
#include "train/preflight.h"

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

LoadedModel load_model(const std::filesystem::path& run_or_checkpoint, DType type) {
  const Activity activity("loading the model", "end other programs");
  const std::filesystem::path checkpoint = find_checkpoint(run_or_checkpoint);
  const std::string path = checkpoint.string();
  const SafetensorsFile file(checkpoint);
  LoadedModel m;
  static_cast<RunRecord&>(m) = read_record(file, path);
  m.checkpoint = checkpoint;
  m.tokenizer = stored_tokenizer(m, path);
  m.model = std::make_unique<LanguageModel>(m.config.model, m.tokenizer->vocab_size());
  m.model->params().materialize(static_cast<uint64_t>(m.config.train.seed), type);
  load_parameters(file, path, m.model->params());
  return m;
}

Corpus corpus_of(const RunRecord& record, const std::string& name, const std::filesystem::path& near) {
  if (record.config.data.task) return corpus_of(record.config);
  const auto fits = [&](const Corpus& c) { return differences(record.corpus, c.identity()).empty(); };
  std::optional<Corpus> usual;
  std::exception_ptr error;
  try {
    usual = Corpus::open(name, near);
    if (fits(*usual)) return *std::move(usual);
  } catch (const Error&) {
    error = std::current_exception();
  }
  for (const std::string& other : {record.manifest.string(), record.corpus_name}) try {
      if (other.empty()) continue;
      if (Corpus found = Corpus::open(other, near); fits(found)) return found;
    } catch (const Error&) {  // what is wrong with `name` says more
    }
  if (usual) return *std::move(usual);
  std::rethrow_exception(error);
}

Corpus open_corpus(const LoadedModel& m) { return corpus_of(m, m.config.data.corpus); }

void export_model(const LoadedModel& m, const std::filesystem::path& folder, bool replace) {
  begin_export(folder, {"model.safetensors", "effllm.json"}, replace);
  RunRecord record = m;
  record.counters.reset();
  save_checkpoint(folder / "model.safetensors", m.model->params(), {}, to_metadata(record));
  nlohmann::json config = to_json(write_run_config(m.config));
  config["vocab_size"] = m.model->vocab();
  write_file_atomic(folder / "effllm.json", config.dump(2) + "\n");
}

}  // namespace effllm
