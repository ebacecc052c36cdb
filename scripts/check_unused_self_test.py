"""The self-test of check_unused.py: a small tree of which is known what nobody reads."""
import re
import sys
import tempfile
from pathlib import Path

# A small program, and tests of it. What nobody reads is named `idle...`, all else is read somewhere.
TREE = {
    "src/LAYERS": "base\nnn\n",
    "src/base/a.h": """
#pragma once
#define USED_MACRO(x) x
#define IDLE_MACRO 1
namespace p {
inline constexpr int kUsed = 1, kOther = 2;
inline constexpr double kIdle = 2;
enum class Colour { red, idle_colour };
enum Input { kIn };
template <class T>
struct Used {
  explicit Used(int n) : count_(n), idle_(n) {}
  T used_method() const { return count_ + static_cast<T>(Colour::red) + kIn; }
  void idle_method() {}
  virtual void overridden();
  int seen = 0, written_idle = 0;
  void (*called)(int) noexcept;
  void (*idle_entry)(int) noexcept;

 private:
  T count_, idle_;
  std::lock_guard<std::mutex> held_lock;
};
struct IdleType {
  IdleType() {}
};
using UsedAlias = Used<int>;
using IdleAlias = Used<double>;
int used(int parameter, const UsedAlias& other = UsedAlias(kUsed));
int idle_function(int parameter);
int for_tests_idle();
template <class T>
void same_name(T x);
}
""",
    "src/base/a.cpp": """
#include "base/a.h"
namespace p {
namespace {
constexpr int kLocalIdle = 3;
int upper_idle(int x) { return x; }  // read here; the one of nn/ is not, which lies above
int helper(int x) { return USED_MACRO(x) + kOther + upper_idle(x); }
}  // namespace
int used(int parameter, const UsedAlias& other) {
  Used<int> u(parameter);
  u.written_idle = 1;  // u.written_idle is written
  const char* text = "idle_function(1), kIdle";
  u.called(1);
  return helper(u.seen) + u.used_method();
}
int idle_function(int parameter) { return parameter; }
int for_tests_idle() { return 1; }
template <class T>
void same_name(T x) {}
template void same_name(int);
void lower() { same_name(1); }
}
int main() { p::used(1), p::lower(); }
""",
    "src/nn/b.cpp": """
namespace p {
struct Options {
  int read_key = 1, idle_key = 2;
  void visit(V& v) { v("read_key", read_key, "Read."), v("idle_key", idle_key, "Not read."); }
};
struct Derived : Used<int> {
  void overridden() override {}
};
struct Pair {
  int first_bound, second_bound;
};
void idle_in_nn_only();
void upper_idle() {}
void b(Options o) {
  Derived d;
  const auto [first_bound, second_bound] = pair();
  visit(o.read_key, d, first_bound, b);
}
}
""",
    "apps/p/main.cpp": """
void run() { row(p::Pair(), Options().visit()}); }
int start = (run(), 1) + start;
""",
    "tests/t.cpp": """
int idle_helper() { return 1; }
TEST_CASE("x") { CHECK(p::for_tests_idle() == idle_function(1) + IDLE_MACRO + kIdle); }
""",
}


def self_test(check_tree):
    """Lets check_tree judge TREE; 0 where exactly what is named idle is found."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, text in TREE.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        found = {m.group(1) for line in check_tree(root) if (m := re.search(r"`(\w+)`", line))}
    expected = {name for text in TREE.values() for line in text.split("\n") if not line.lstrip().startswith("//")
                for name in re.findall(r"\w*idle\w*", line, re.I)}
    expected -= {"idle_", "same_name"}
    expected |= {"idle_"}
    for name in sorted(found ^ expected):
        print(f"self-test: `{name}` is {'listed, but read' if name in found else 'read by nobody, but not listed'}",
              file=sys.stderr)
    print(f"self-test: {len(expected & found)} of {len(expected)} idle names found")
    return 1 if found != expected else 0
