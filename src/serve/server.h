// The door to the network: HTTP in, JSON out. The model is run by the thread that calls run().
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "serve/served_model.h"

namespace effllm {

struct ServerAddress {
  std::string host = "127.0.0.1";
  int port = 8080;         // 0: any that is free
  bool local_only = true;  // requests that name another host than this machine are refused
};

class Server {
 public:
  // Listens from here on. IoError where the address can't be had.
  Server(const ServedModel& served, const ServerAddress& address);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  int port() const;
  // Answers until `ended` says so, asked at least each tenth of a second between requests; then the request in work is
  // finished, those that wait are refused, and all connections are closed.
  void run(const std::function<bool()>& ended);

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace effllm
