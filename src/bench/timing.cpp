#include "bench/timing.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>

namespace effllm {
namespace {

constexpr double kTolerated = 0.03;

double own_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

// All CPUs: user, nice, system, irq, softirq and stolen time; idle and waiting for disks left out.
double busy_seconds() {
  std::ifstream in("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
  in >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
  return (user + nice + system + irq + soft + steal) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

Quantiles quantiles(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::ranges::sort(samples);
  const auto at = [&](double q) {
    return samples[static_cast<size_t>(std::llround(q * static_cast<double>(samples.size() - 1)))];
  };
  return {at(0.5), at(0.1), at(0.9)};
}

Neighbours::Neighbours() : start_(seconds_now()), busy_(busy_seconds()), own_(own_seconds()) {}

double Neighbours::cpus() const {
  const double elapsed = seconds_now() - start_, others = busy_seconds() - busy_ - (own_seconds() - own_);
  return elapsed > 0 ? std::max(0.0, others / elapsed) : 0;
}

bool Neighbours::contended(int threads) const {
  const double left = std::max(0.0, static_cast<double>(std::thread::hardware_concurrency()) - threads);
  return cpus() > left + kTolerated * threads;
}

}  // namespace effllm
