#include "serve/fields.h"

#include <doctest/doctest.h>

#include "serve/http_error.h"

using namespace effllm;

namespace {

// "status field: message" of what a call throws.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const HttpError& e) {
    return std::to_string(e.status) + " " + e.field + ": " + e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("fields: values, those that are not there or null, and what is wrong with others") {
  Fields f(R"({"a": 3, "b": null, "c": 1.5, "d": true, "e": "text", "f": 18446744073709551615, "g": [1, 2]})");
  CHECK(f.integer("a", 9, 0, 3) == 3);
  CHECK(f.integer("b", 9, 0, 3) == 9);
  CHECK(f.integer("absent", 9, 0, 3) == 9);
  CHECK(f.number("c", 0) == 1.5);
  CHECK(f.number("a", 0) == 3);
  CHECK(f.flag("d", false));
  CHECK(f.text("e", "") == "text");
  CHECK(error_of([&] { f.integer("a", 0, 4, 5); }) == "400 a: `a` must be an integer of 4 to 5, not 3");
  CHECK(error_of([&] { f.integer("d", 0, 0, 5); }) == "400 d: `d` must be an integer of 0 to 5, not true");
  CHECK(error_of([&] { f.integer("f", 0, -1, 5); }).find("not 18446744073709551615") != std::string::npos);
  CHECK(error_of([&] { f.number("e", 0); }) == "400 e: `e` must be a number, not \"text\"");
  CHECK(error_of([&] { f.flag("a", false); }) == "400 a: `a` must be true or false, not 3");
  CHECK(error_of([&] { f.text("g", ""); }) == "400 g: `g` must be a text, not [1,2]");
  CHECK(error_of([&] { f.require_all_known(); }).empty());
  CHECK(error_of([] { Fields(R"({"temperature": 1})").require_all_known(); }) ==
        "400 temperature: `temperature` is no field of this request.");
}

TEST_CASE("fields: a body that is no JSON object") {
  for (const char* body : {"", "{", "{\"a\": \"\xff\"}", "{\"a\": 1e999}"})
    CHECK_MESSAGE(error_of([&] { Fields f(body); }) == "400 : the body is no JSON (or not UTF-8)", body);
  CHECK(error_of([] { Fields f("[]"); }) == "400 : the body must be a JSON object, not array");
}

TEST_CASE("http errors: the protocol's form, whatever bytes a message holds") {
  CHECK(nlohmann::json::parse(HttpError(429, "a \xff", "n", "queue_full").body()) ==
        nlohmann::json::parse("{\"error\": {\"message\": \"a \xef\xbf\xbd\", \"type\": \"rate_limit_error\", "
                              "\"param\": \"n\", \"code\": \"queue_full\"}}"));
  const auto plain = nlohmann::json::parse(HttpError(503, "b").body()).at("error");
  CHECK(plain.at("type") == "server_error");
  CHECK(plain.at("param").is_null());
  CHECK(plain.at("code").is_null());
}
