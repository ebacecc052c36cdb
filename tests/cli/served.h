// A server that runs, and what asks it.
#pragma once
#include <csignal>
#include <memory>

#include "cli/trained.h"
#include "serve/httplib.h"

namespace effllm::test {

class Served {
 public:
  Served(const TrainedWorld& w, const Words& options = {}, const std::string& run = "runs/tiny")
      : in_(w.in), said_(w.scratch.path / "served") {
    in_.out_to = said_.string();
    std::filesystem::remove(said_);
    process_ = std::make_unique<Process>(
        w.command(with({"serve", run, "--port", "0", "--threads", "2", "--json", "-q"}, options)), in_);
    REQUIRE(await_text(said_, "}\n"));
    port = nlohmann::json::parse(slurp(said_)).at("port");
  }
  httplib::Client client() const {
    httplib::Client c("127.0.0.1", port);
    c.set_read_timeout(300);
    return c;
  }
  // The status and body of an answer; status 0 where there was none.
  struct Reply {
    int status = 0;
    nlohmann::json body;
    std::string blamed() const { return body.at("error").at("param").is_null() ? "" : body["error"]["param"]; }
  };
  Reply get(const std::string& path, const httplib::Headers& headers = {}) const {
    return reply(client().Get(path, headers));
  }
  Reply post(const std::string& path, const std::string& body, const std::string& type = "application/json",
             const httplib::Headers& headers = {}) const {
    return reply(client().Post(path, headers, body, type));
  }
  Reply complete(const nlohmann::json& body) const { return post("/v1/completions", body.dump()); }
  std::vector<std::string> texts(const nlohmann::json& body) const {
    const Reply r = complete(body);
    REQUIRE_MESSAGE(r.status == 200, r.body.dump());
    std::vector<std::string> all;
    for (const auto& choice : r.body.at("choices")) {
      CHECK(choice.at("index") == all.size());
      all.push_back(choice.at("text"));
    }
    return all;
  }
  Ended end(int number = SIGTERM) {
    process_->signal(number);
    return process_->wait();
  }

  int port = 0;

 private:
  static Reply reply(const httplib::Result& r) {
    if (!r) return {};
    return {r->status, r->body.empty() ? nlohmann::json() : nlohmann::json::parse(r->body)};
  }
  Surroundings in_;
  std::filesystem::path said_;
  std::unique_ptr<Process> process_;
};

}  // namespace effllm::test
