// Which paths there are, and what answers at each: JSON texts, whatever carries them.
#pragma once
#include <string>

#include "serve/served_model.h"
#include "serve/work_queue.h"

namespace effllm {

class Routes {
 public:
  // Both must outlive it; what runs the model goes through the queue.
  Routes(const ServedModel& served, WorkQueue& queue) : served_(served), queue_(queue) {}
  // HttpError 404 for a path that is not there, 405 for one that takes another method.
  void require(const std::string& method, const std::string& path) const;
  // Of paths that are there. HttpError and the errors of complete().
  std::string get(const std::string& path) const;
  std::string post(const std::string& path, const std::string& body) const;

 private:
  const ServedModel& served_;
  WorkQueue& queue_;
};

}  // namespace effllm
