#include "serve/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/text.h"
#include "serve/completion.h"
#include "serve/http_error.h"
#include "serve/tokenizer_routes.h"

namespace effllm {
namespace {

struct Route {
  std::string_view method, path;
};
constexpr std::array kRoutes = {Route{"GET", "/health"},          Route{"GET", "/v1/models"},
                                Route{"POST", "/v1/completions"}, Route{"GET", "/tokenizer_info"},
                                Route{"POST", "/tokenize"},       Route{"POST", "/detokenize"}};

// JSON holds UTF-8 alone: other bytes that a model writes are U+FFFD.
std::string text_of(const nlohmann::json& j) {
  return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::json models(const ServedModel& s) {
  const nlohmann::json model = {{"id", s.id},
                                {"object", "model"},
                                {"created", 0},
                                {"owned_by", "effllm"},
                                {"max_model_len", s.limits.prompt_tokens}};
  return {{"object", "list"}, {"data", nlohmann::json::array({model})}};
}

}  // namespace

void Routes::require(const std::string& method, const std::string& path) const {
  const auto route = std::ranges::find(kRoutes, path, &Route::path);
  if (route == kRoutes.end()) {
    std::string all;
    for (const Route& r : kRoutes) all += fmt::format("{}{} {}", all.empty() ? "" : ", ", r.method, r.path);
    throw HttpError(404, fmt::format("there is no {}: ask {}", printable(path.substr(0, 60)), all), "", "unknown_url");
  }
  if (route->method != method)
    throw HttpError(405, fmt::format("{} takes {}, not {}", path, route->method, printable(method.substr(0, 60))));
}

std::string Routes::get(const std::string& path) const {
  if (path == "/health") {
    const WorkQueue::Load load = queue_.load();
    return text_of({{"status", "ok"}, {"working", load.working}, {"waiting", load.waiting}});
  }
  return text_of(path == "/v1/models" ? models(served_)
                                      : tokenizer_info(served_.tokenizer(), served_.limits.prompt_tokens));
}

std::string Routes::post(const std::string& path, const std::string& body) const {
  const double deadline = seconds_now() + served_.limits.seconds;
  if (path == "/tokenize") return text_of(tokenize(body, served_.tokenizer(), served_.limits.prompt_tokens));
  if (path == "/detokenize") return text_of(detokenize(body, served_.tokenizer()));
  const CompletionRequest request = read_completion_request(body, served_);
  nlohmann::json answer;
  queue_.run([&] { answer = complete(request, served_, deadline); }, deadline);
  return text_of(answer);
}

}  // namespace effllm
