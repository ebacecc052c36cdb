// The server, by the library's own client: its texts and numbers are those of the command line.
#include "cli/served.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <thread>

using namespace effllm::test;
using nlohmann::json;

namespace {

constexpr const char* kPrompt = "line 7: the quick";

json samples_of(const TrainedWorld& w, const Words& options) {
  return w.read(with({"generate", "runs/tiny", "-q", "-n", "30"}, options)).at("samples");
}

}  // namespace

TEST_CASE("cli serve: texts are those of generate, greedy and drawn, stopped and of several prompts") {
  const TrainedWorld w;
  const Served s(w);
  const json greedy = {{"prompt", kPrompt}, {"max_tokens", 30}, {"temperature", 0}};
  const json wanted = samples_of(w, {"-p", kPrompt, "--greedy"});
  CHECK(json(s.texts(greedy)) == wanted);

  const json drawn = {{"model", "tiny"}, {"prompt", kPrompt}, {"max_tokens", 30}, {"temperature", 0.9},
                      {"top_p", 0.8},    {"top_k", 7},        {"seed", 5},        {"n", 3}};
  CHECK(json(s.texts(drawn)) ==
        samples_of(w, {"-p", kPrompt, "-t", "0.9", "--top-p", "0.8", "--top-k", "7", "--seed", "5", "--samples", "3"}));

  json stopped = greedy;
  const std::string text = wanted.at(0);
  stopped["stop"] = text.substr(4, 2);
  const json cut = s.complete(stopped).body.at("choices").at(0);
  CHECK(cut.at("text") == text.substr(0, text.find(text.substr(4, 2))));
  CHECK(cut.at("finish_reason") == "stop");
  CHECK(s.complete(greedy).body.at("choices").at(0).at("finish_reason") == "length");

  json several = greedy;
  several["prompt"] = {kPrompt, "", kPrompt};
  CHECK(json(s.texts(several)) == json({text, samples_of(w, {"--greedy"}).at(0), text}));
  CHECK(s.complete(several).body.at("usage") ==
        json({{"prompt_tokens", 34}, {"completion_tokens", 90}, {"total_tokens", 124}}));

  several["echo"] = true;
  several["max_tokens"] = 0;
  CHECK(s.texts(several) == std::vector<std::string>{kPrompt, "", kPrompt});
}

TEST_CASE("cli serve: token ids are a prompt as its text is, and bytes that are no text too") {
  const TrainedWorld w({"train.max_steps=20", "data.tokenizer=byte"});
  const Served s(w);
  const json info = s.get("/tokenizer_info").body;
  CHECK(info.at("eos_token") == "\n");
  const json ids = s.post("/tokenize", json({{"prompt", "a\n\xc3\xa9"}, {"add_special_tokens", false}}).dump()).body;
  CHECK(ids.at("tokens") == json({97, 10, 195, 169}));
  CHECK(ids.at("count") == 4);
  CHECK(s.post("/detokenize", json({{"tokens", ids.at("tokens")}}).dump()).body.at("prompt") == "a\n\xc3\xa9");

  json body = {{"prompt", "a\n\xc3\xa9"}, {"max_tokens", 8}, {"temperature", 0}};
  const auto text = s.texts(body);
  body["prompt"] = ids.at("tokens");
  CHECK(s.texts(body) == text);
  body["prompt"] = json::array({ids.at("tokens"), {195}});
  const auto both = s.texts(body);
  CHECK(both.at(0) == text.at(0));
  spill(w.scratch.path / "half", "\xc3");
  CHECK(both.at(1) ==
        w.read({"generate", "runs/tiny", "-q", "-n", "8", "--greedy", "--prompt-file", "half"}).at("samples").at(0));

  body["echo"] = true;
  body["max_tokens"] = 0;
  body["logprobs"] = 0;
  const json scored = s.complete(body).body.at("choices").at(0).at("logprobs");
  CHECK(scored.at("tokens") == json({"a", "\n", "bytes:\\xc3", "bytes:\\xa9"}));
  CHECK(scored.at("text_offset") == json({0, 1, 2, 3}));
}

TEST_CASE("cli serve: log-likelihoods of a prompt are those of eval, and of greedy tokens the best") {
  const TrainedWorld w;
  const Served s(w);
  const std::string text = "\nline 12: the quick brown fox counts to 7.\nline 9";
  spill(w.scratch.path / "scored.txt", text);
  const json eval = w.read({"eval", "runs/tiny", "-q", "--text", "scored.txt", "--tokens", "100", "--no-baselines"});
  json body = {{"prompt", text}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 1}};
  const auto sum_of = [&](const json& scores, size_t end) {
    double sum = 0;
    CHECK(scores.at("token_logprobs").at(0).is_null());
    CHECK(scores.at("top_logprobs").at(0).is_null());
    for (size_t i = 1; i < end; ++i) sum += scores["token_logprobs"][i].get<double>();
    return sum;
  };
  const json choice = s.complete(body).body.at("choices").at(0);
  CHECK(choice.at("text") == text);
  const json& scores = choice.at("logprobs");
  REQUIRE(scores.at("tokens").size() == text.size());
  const double nats = eval.at("nats_per_token").get<double>() * eval.at("tokens").get<double>();
  CHECK(std::abs(-sum_of(scores, text.size()) - nats) < 1e-4);

  body["max_tokens"] = 1;
  body["temperature"] = 0;
  const json more = s.complete(body).body.at("choices").at(0).at("logprobs");
  REQUIRE(more.at("tokens").size() == text.size() + 1);
  CHECK(std::abs(sum_of(more, text.size()) - sum_of(scores, text.size())) < 1e-4);
  const json& last = more.at("top_logprobs").back();
  CHECK(last.size() == 1);  // the token that was written is the likeliest
  CHECK(last.at(more.at("tokens").back().get<std::string>()) == more.at("token_logprobs").back());

  body["echo"] = false;
  body["max_tokens"] = 4;
  body["logprobs"] = 3;
  const json written = s.complete(body).body.at("choices").at(0);
  CHECK(written.at("logprobs").at("tokens").size() == 4);
  CHECK(written.at("logprobs").at("text_offset") == json({0, 1, 2, 3}));
  CHECK(written.at("logprobs").at("top_logprobs").at(0).size() == 3);
  std::string joined;
  for (const auto& t : written.at("logprobs").at("tokens")) joined += t.get<std::string>();
  CHECK(joined == written.at("text"));
}

TEST_CASE("cli serve: what it does not take is refused with the status and the field") {
  const TrainedWorld w;
  const Served s(w, {"--max-body", "2000", "--max-prompt", "50", "--max-tokens", "40", "--max-samples", "3"});
  const auto refused = [&](const json& body, int status, const std::string& field, const std::string& says) {
    const Served::Reply r = s.complete(body);
    CAPTURE(body.dump());
    CHECK(r.status == status);
    CHECK(r.blamed() == field);
    CHECK_MESSAGE(effllm::has(r.body.at("error").at("message").get<std::string>(), says), r.body.dump());
  };
  refused({}, 400, "", "must be a JSON object, not null");
  refused({{"max_tokens", 1}}, 400, "prompt", "a list of token ids");
  refused({{"prompt", json::array()}}, 400, "prompt", "a list of token ids");
  refused({{"prompt", {"a", 1}}}, 400, "prompt", "a list of token ids");
  refused({{"prompt", {1, "a"}}}, 400, "prompt", "\"a\" is no token id");
  refused({{"prompt", {0, 1000}}}, 400, "prompt", "1000 is no token id: they are integers of 0 to ");
  refused({{"prompt", "\xe2\x82\xac"}}, 400, "prompt", "is not in the vocabulary");
  refused({{"prompt", std::string(51, 'l')}}, 400, "prompt", "at most 50 may be given (--max-prompt)");
  refused({{"prompt", "l"}, {"max_tokens", 41}}, 400, "max_tokens", "an integer of 0 to 40, not 41");
  refused({{"prompt", "l"}, {"max_tokens", 1.5}}, 400, "max_tokens", "not 1.5");
  refused({{"prompt", "l"}, {"n", 4}}, 400, "n", "1 to 3");
  refused({{"prompt", {"l", "l"}}, {"n", 2}}, 400, "n", "--max-samples");
  refused({{"prompt", {"l", "l", "l", "l"}}}, 400, "prompt", "--max-samples");
  refused({{"prompt", "l"}, {"temperature", -1}}, 400, "temperature", "below 0");
  refused({{"prompt", "l"}, {"top_p", 0}}, 400, "top_p", "above 0");
  refused({{"prompt", "l"}, {"stop", ""}}, 400, "stop", "1 to 1024 bytes, not 0");
  refused({{"prompt", "l"}, {"stop", std::vector<std::string>(17, "x")}}, 400, "stop", "at most 16");
  refused({{"prompt", "l"}, {"echo", 1}}, 400, "echo", "true or false");
  refused({{"prompt", "l"}, {"stream", true}}, 400, "stream", "as a whole");
  refused({{"prompt", "l"}, {"logprobs", 21}}, 400, "logprobs", "0 to 20");
  refused({{"prompt", "l"}, {"temperatur", 1}}, 400, "temperatur", "Did you mean `temperature`?");
  refused({{"prompt", "l"}, {"model", "gpt"}}, 404, "model", "this server has `tiny`");
  refused({{"prompt", std::string(3000, 'l')}}, 413, "", "longer than 2000 bytes (--max-body)");
  CHECK(s.post("/v1/completions", "{\"prompt\":").status == 400);
  CHECK(s.post("/v1/completions", "{}", "text/plain").status == 415);
  CHECK(s.post("/v1/completion", "{}").status == 404);
  CHECK(s.get("/v1/completions").status == 405);
  CHECK(s.post("/tokenize", R"({"prompt": 3})").blamed() == "prompt");
  CHECK(s.post("/detokenize", R"({"tokens": "a"})").blamed() == "tokens");
  CHECK(s.texts({{"prompt", std::string(50, 'l')}, {"max_tokens", 40}, {"stop", nullptr}}).at(0).size() == 40);
}

TEST_CASE("cli serve: only who names this machine is answered, unless it was given an address") {
  const TrainedWorld w;
  const Served s(w);
  const json models = s.get("/v1/models").body;
  CHECK(models.at("object") == "list");
  CHECK(models.at("data").at(0).at("id") == "tiny");
  for (const std::string host : {"localhost", "127.0.0.1", "localhost:1", "[::1]:80"})
    CHECK_MESSAGE(s.get("/v1/models", {{"Host", host}}).status == 200, host);
  for (const std::string host : {"example.org", "localhost.example.org", "127.0.0.1.example.org:80", "localhost:x"}) {
    const Served::Reply r = s.get("/v1/models", {{"Host", host}});
    CHECK_MESSAGE(r.status == 403, host);
    CHECK(r.body.at("error").at("code") == "foreign_host");
  }
  w.ends({"serve", "runs/tiny", "--port", std::to_string(s.port)}, 5, {"127.0.0.1:", "choose another --port"});
  const Served open(w, {"--host", "127.0.0.1"});
  CHECK(open.get("/v1/models", {{"Host", "example.org"}}).status == 200);
  w.ends({"serve", "runs/tiny", "--host", "no.such.host.invalid"}, 5,
         {"no.such.host.invalid:8080 can't be listened on"});
}

TEST_CASE("cli serve: a request that takes too long is ended, and the next is answered") {
  const TrainedWorld w;
  const Served s(w, {"--timeout", "1", "--max-tokens", "50000"});
  const Served::Reply r = s.complete({{"prompt", "l"}, {"max_tokens", 50000}, {"n", 64}});
  CHECK(r.status == 504);
  CHECK(r.body.at("error").at("code") == "timeout");
  CHECK(s.get("/health").body == json({{"status", "ok"}, {"working", false}, {"waiting", 0}}));
}

TEST_CASE("cli serve: what the queue has no room for is refused, and a signal lets the request in work end") {
  const TrainedWorld w;
  Served s(w, {"--queue", "1"});
  std::vector<int> statuses(2);
  std::vector<std::thread> all;
  for (int& status : statuses)
    all.emplace_back([&] { status = s.complete({{"prompt", "l"}, {"max_tokens", 4000}, {"n", 8}}).status; });
  const json full = {{"status", "ok"}, {"working", true}, {"waiting", 1}};
  for (int i = 0; i < 60000 && s.get("/health").body != full; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(s.complete({{"prompt", "l"}}).status == 429);
  const Ended r = s.end(SIGINT);
  for (std::thread& t : all) t.join();
  std::ranges::sort(statuses);
  CHECK(statuses == std::vector{200, 503});
  CHECK(r.code == 0);
  CHECK(s.get("/v1/models").status == 0);
}

TEST_CASE("cli serve: a model that writes by masks writes the texts of generate, and has no likelihood of a token") {
  const TrainedWorld w(
      {"train.max_steps=20", "objective.type=masked_diffusion", "model.layers=[{mixer: {type: attention, heads: 2}}]"});
  const Served s(w);
  CHECK(json(s.texts({{"prompt", kPrompt}, {"max_tokens", 12}, {"temperature", 0}})) ==
        w.read({"generate", "runs/tiny", "-q", "-n", "12", "--greedy", "-p", kPrompt}).at("samples"));
  const Served::Reply r = s.complete({{"prompt", kPrompt}, {"logprobs", 1}});
  CHECK(r.status == 400);
  CHECK(r.blamed() == "logprobs");
}

TEST_CASE("cli serve: a model that never learned to go on with a text is not served, nor one that has no room") {
  const TrainedWorld w;
  spill(w.scratch.path / "parity.yaml",
        "model: {d_model: 8, layers: [{mixer: {type: min_gru}}]}\n"
        "data: {task: parity}\ntrain: {batch: 2, max_steps: 1}\n");
  w.ok({"train", "parity.yaml", "-q"});
  w.ends({"serve", "runs/parity", "--port", "0"}, 2, {"learned parity, whose targets are answers"});
  w.ends({"serve", "runs/tiny", "--port", "0", "--max-prompt", "1000000000"}, 7,
         {"a request as large as --max-prompt and --max-tokens allow"});
}
