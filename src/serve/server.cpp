#include "serve/server.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "base/out_of_memory.h"
#include "serve/completion.h"
#include "serve/host_check.h"
#include "serve/http_error.h"
#include "serve/httplib.h"
#include "serve/routes.h"
#include "serve/work_queue.h"

namespace effllm {
namespace {

constexpr const char* kJson = "application/json";
constexpr int64_t kDrained = 16;  // times the longest body: read and dropped, so that the client hears why
constexpr int kSpareThreads = 8;  // for requests that run no model
constexpr double kIdle = 0.05;    // seconds

// The body, of which no more than `most` bytes are kept in memory. HttpError 413 for a longer one, 400 for one that
// breaks off.
std::string read_body(const httplib::ContentReader& reader, int64_t most) {
  std::string body;
  int64_t length = 0;
  const bool whole = reader([&](const char* data, size_t n) {
    length += static_cast<int64_t>(n);
    if (length <= most) body.append(data, n);
    return length <= kDrained * most;
  });
  if (length > most)
    throw HttpError(413, fmt::format("the body is longer than {} bytes (--max-body)", most), "", "body_too_long");
  if (!whole) throw HttpError(400, "the body broke off, or is encoded in a way that is not known");
  return body;
}

void refuse(httplib::Response& res, const HttpError& e) {
  res.status = e.status;
  if (e.status == 429) res.set_header("Retry-After", "1");
  res.set_content(e.body(), kJson);
}

// What an exception of a request's work is to its client.
HttpError told(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const HttpError& e) {
    return e;
  } catch (const MemoryError& e) {
    return {503, fmt::format("there is not memory enough for this request: {}", e.what()), "", "out_of_memory"};
  } catch (const ConfigError& e) {
    return {400, e.what()};
  } catch (const DataError& e) {
    return {400, e.what()};
  } catch (const std::bad_alloc&) {
    return {503, "there is not memory enough for this request", "", "out_of_memory"};
  } catch (const std::exception& e) {
    return {500, e.what()};
  }
}

}  // namespace

struct Server::Inside {
  const ServedModel& served;
  ServerAddress address;
  Routes routes;
  WorkQueue queue;
  httplib::Server http;
  int port = 0;

  Inside(const ServedModel& s, const ServerAddress& a)
      : served(s), address(a), routes(s, queue), queue(s.limits.waiting) {
    const auto threads = static_cast<size_t>(served.limits.waiting + kSpareThreads);
    http.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
    // One request a connection: what was not read of one that is refused is never taken for the next.
    http.set_keep_alive_max_count(1);
    http.set_payload_max_length(static_cast<size_t>(kDrained * served.limits.body_bytes));
    // Not SO_REUSEPORT, as the library has it: two servers would share a port without a word.
    http.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    http.set_pre_routing_handler([this](const httplib::Request& req, httplib::Response& res) {
      return admits(req, res) ? httplib::Server::HandlerResponse::Unhandled : httplib::Server::HandlerResponse::Handled;
    });
    http.set_error_handler(httplib::Server::Handler([](const httplib::Request&, httplib::Response& res) {
      if (res.body.empty()) refuse(res, HttpError(res.status, "the request is not understood"));
    }));
    http.Get(".*", [this](const httplib::Request& req, httplib::Response& res) {
      answer(res, [&] { return routes.get(req.path); });
    });
    http.Post(".*", [this](const httplib::Request& req, httplib::Response& res, const httplib::ContentReader& reader) {
      answer(res, [&] { return routes.post(req.path, read_body(reader, served.limits.body_bytes)); });
    });
    errno = 0;
    port = a.port == 0 ? http.bind_to_any_port(a.host) : http.bind_to_port(a.host, a.port) ? a.port : -1;
    if (port < 0)
      throw IoError("{}:{} can't be listened on: {}; choose another --port or --host", a.host, a.port,
                    errno ? std::strerror(errno) : "no such address");
  }

  // Whether a request may go on: it names this machine, a path that there is, and sends JSON where it sends anything.
  bool admits(const httplib::Request& req, httplib::Response& res) {
    try {
      const std::string host = req.get_header_value("Host");
      if (address.local_only && !is_local_host(host))
        throw HttpError(403, "the Host header names another machine: ask 127.0.0.1 or localhost, or start with --host",
                        "", "foreign_host");
      routes.require(req.method, req.path);
      const std::string type = req.get_header_value("Content-Type");
      if (req.method == "POST" && type.substr(0, type.find(';')) != kJson)
        throw HttpError(415, "the Content-Type header must be application/json");
      return true;
    } catch (const HttpError& e) {
      refuse(res, e);
      return false;
    }
  }

  template <class F>
  void answer(httplib::Response& res, F&& make) {
    try {
      res.set_content(make(), kJson);
      res.status = 200;
    } catch (...) {
      refuse(res, told(std::current_exception()));
    }
  }
};

Server::Server(const ServedModel& served, const ServerAddress& address)
    : inside_(std::make_unique<Inside>(served, address)) {}
Server::~Server() = default;
int Server::port() const { return inside_->port; }

void Server::run(const std::function<bool()>& ended) {
  std::atomic<bool> listens = true;
  std::thread door([&] {
    inside_->http.listen_after_bind();
    listens = false;
  });
  while (!ended() && listens) inside_->queue.serve(kIdle);
  inside_->queue.close();
  while (listens) {  // stop() does nothing before the thread has begun
    inside_->http.stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  door.join();
  if (!ended()) throw IoError("{}:{} is no longer listened on", inside_->address.host, inside_->port);
}

}  // namespace effllm
