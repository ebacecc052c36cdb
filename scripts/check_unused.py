#!/usr/bin/env python3
"""Lists names that nothing reads: functions, types, members, constants, macros, options, metrics.

    scripts/check_unused.py [--root DIR]   exit 1 and a line `file:line: message` for each name
    scripts/check_unused.py --self-test    judges a small tree of which is known what nobody reads

A name declared in src/ or apps/ needs a reader there: tests do not count. One declared in tests/ needs a reader anywhere.
By names alone, without types: declarations, definitions, assignments (`x = ...`, `.x = ...`), initialisers of a
constructor and the line of an option's visit() are no readers. A member or method is read after `.`, `->` or `::`, or
bare in its own folder; a function anywhere but after `.`; the rest wherever the name stands. So a name that is also
another's may go unnoticed, and nothing that is read is listed.
"""
import argparse
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Read by the language or a library; a function marked `override` is called by way of its base.
BY_OTHERS = {"main", "begin", "end", "what", "format", "parse", "DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN"}
# What tests alone read, and why it stands in the program.
FOR_TESTS = {
    "set_isa": "every instruction set is tested in one process",
    "misses": "that nothing is allocated once a step is warm",
    "reserved_bytes": "what a pool took, which the foreseen peak is held against",
    "period": "where a mechanism's own description says that sequences are to be cut",
}
# Words that stand before a name without being its type.
NO_TYPES = {"return", "case", "else", "new", "delete", "throw", "goto", "co_return", "operator", "public", "private",
            "protected", "sizeof", "typename", "using", "namespace", "do", "in", "not", "and", "or"}
KEYWORDS = NO_TYPES | {
    "if", "for", "while", "switch", "const", "constexpr", "static", "inline", "virtual", "override", "final", "noexcept",
    "auto", "void", "bool", "int", "char", "double", "float", "long", "short", "unsigned", "signed", "struct", "class",
    "enum", "union", "template", "default", "this", "true", "false", "nullptr", "explicit", "friend", "mutable",
    "extern", "thread_local", "constinit", "consteval", "requires", "concept", "break", "continue", "try", "catch",
    "static_cast", "const_cast", "reinterpret_cast", "dynamic_cast", "decltype", "alignas", "static_assert"}

TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|'
    r"(?<![\w.])\.?\d(?:[\w.]|'\d|[eEpP][+-])*|[A-Za-z_]\w*|::|->|<<=|>>=|==|!=|<=|>=|&&|\|\||\+=|-=|\*=|/=|\+\+|--|[^\s\w]", re.S)


class Token:
    __slots__ = ("text", "line")

    def __init__(self, text, line):
        self.text, self.line = text, line


def is_name(text):
    return (text[0].isalpha() or text[0] == "_") and text not in KEYWORDS


def tokens_of(text):
    """Tokens without comments and preprocessor lines; the latter as (line, text)."""
    directives, kept = [], []
    lines, i = text.split("\n"), 0
    while i < len(lines):
        if lines[i].lstrip().startswith("#"):
            start, whole = i, lines[i]
            while whole.endswith("\\") and i + 1 < len(lines):
                kept.append("")
                i += 1
                whole = whole[:-1] + " " + lines[i]
            directives.append((start + 1, whole))
            kept.append("")
        else:
            kept.append(lines[i])
        i += 1
    found, body, line, at = [], "\n".join(kept), 1, 0
    for match in TOKEN.finditer(body):
        line += body.count("\n", at, match.start())
        at = match.start()
        if not match.group().startswith(("//", "/*")):
            found.append(Token(match.group(), line))
    return found, directives


class File:
    """Declarations (kind, name, line) of one file, and the names that it reads: after a dot, after `::`, bare."""

    def __init__(self, path, text):
        self.path, self.folder, self.declared = path, path.rsplit("/", 1)[0], []
        self.dotted, self.scoped, self.bare, self.overridden = set(), set(), set(), set()
        self.tokens, directives = tokens_of(text)
        for line, whole in directives:
            define = re.match(r"\s*#\s*define\s+(\w+)", whole)
            if define:
                self.declared.append(("macro", define.group(1), line))
                whole = whole[define.end():]
            if not re.match(r"\s*#\s*(include|undef)", whole):
                self.bare |= set(re.findall(r"[A-Za-z_]\w*", whole))
        self.walk()

    def at(self, i):
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def declare(self, kind, i):
        self.declared.append((kind, self.at(i), self.tokens[i].line))

    def read(self, i):
        before = self.at(i - 1)
        of_object = before in (".", "->") or (before == "::" and self.at(i - 3) == "&") or self.is_bound(i)
        (self.dotted if of_object else self.scoped if before == "::" else self.bare).add(self.at(i))

    def walk(self):
        """Follows braces: what they hold is a namespace, a type, an enum's list or a body."""
        i, scopes, heading = 0, ["namespace"], ""
        statement = 0  # index of the first token of the declaration that runs
        while i < len(self.tokens):
            text, scope = self.at(i), scopes[-1]
            if text == "{":
                scopes.append(self.opened(statement, i, scope))
                if scopes[-1] != "body":
                    statement = i + 1
            elif text == "}":
                closed = scopes.pop() if len(scopes) > 1 else "namespace"
                if scopes[-1] != "body" and (closed != "body" or self.at(i + 1) not in (";", ",")):
                    statement = i + 1
            elif scope == "body":
                self.in_body(i)
            elif scope == "enum":
                if is_name(text):
                    self.declare("enumerator", i) if self.at(i - 1) in ("{", ",") else self.read(i)
            elif text == ";" or (text == ":" and self.at(i - 1) in ("public", "private", "protected")):
                statement = i + 1
            else:
                self.in_declaration(i, statement, scope)
            i += 1

    def opened(self, statement, i, scope):
        if scope in ("body", "enum"):
            return "body"
        words = [t.text for t in self.tokens[statement:i]]
        plain = self.outside_brackets(words)
        if "namespace" in plain or (plain[:1] == ["extern"] and len(plain) < 3):
            return "namespace"
        if "enum" in plain and "(" not in plain:
            return "enum"
        if ("struct" in plain or "class" in plain or "union" in plain) and "(" not in plain and "=" not in plain:
            return "type"
        return "body"

    @staticmethod
    def outside_brackets(words):
        """Without what template brackets at the front hold."""
        depth, kept = 0, []
        for n, w in enumerate(words):
            if w == "<" and (depth or (n and words[n - 1] == "template")):
                depth += 1
            if not depth:
                kept.append(w)
            if w == ">" and depth:
                depth -= 1
        return kept

    def in_body(self, i):
        text = self.at(i)
        if not is_name(text):
            return
        after, before = self.at(i + 1), self.at(i - 1)
        if self.is_option(i):
            self.declare("option", i)
        elif after == "=" and (before in (".", "->", ";", "{", "}", ")", ",") or before in ("*", "&")):
            pass  # written
        else:
            self.read(i)

    def is_bound(self, i):
        """Whether it stands in `auto [a, b]`, which reads the members of that name, if they have it."""
        while self.at(i - 1) == "," and is_name(self.at(i - 2)):
            i -= 2
        return self.at(i - 1) == "[" and (self.at(i - 2) == "auto" or self.at(i - 3) == "auto")

    def is_option(self, i):
        """The member in `v("key", member, ...)`."""
        return (self.at(i - 1) == "," and self.at(i - 2).startswith('"') and self.at(i - 3) == "(" and
                self.at(i - 4) == "v")

    def in_declaration(self, i, statement, scope):
        text = self.at(i)
        if not is_name(text):
            return
        before, after = self.at(i - 1), self.at(i + 1)
        words = [t.text for t in self.tokens[statement:i]]
        depth = words.count("(") - words.count(")")
        typed = before in (">", "&", "*", "&&", "]") or ((before[:1].isalpha() or before[:1] == "_") and
                                                        before not in NO_TYPES)
        if words[:1] == ["template"] and self.open_brackets(words):
            if not (before in ("class", "typename") or (typed and after in (",", ">", "="))):
                self.read(i)
            return
        plain = self.outside_brackets(words)
        if "friend" in plain[:1] or (plain[:1] == ["template"] and len(plain) > 1 and words[1:2] != ["<"]):
            return  # an explicit instantiation
        if depth == 0 and before in ("struct", "class", "union", "enum") and after in ("{", ":", ";", "final"):
            if after != ";" and (before != "enum" or self.at(i - 2) == "enum"):  # a plain enum's name only explains
                self.declare("type", i)
        elif depth == 0 and before == "using" and after == "=":
            self.declare("type", i)
        elif depth == 0 and before == "concept":
            self.declare("type", i)
        elif depth == 0 and after == "(" and self.after_parameters(words):
            pass  # a constructor's initialiser
        elif depth == 0 and after == "(" and "=" not in plain and (typed or before == "::" and len(plain) > 2 or
                                                                    before == "::" and text == self.at(i - 2)):
            if self.overrides(i):
                self.overridden.add(text)
            elif not (before == "::" and text == self.at(i - 2)) and "extern" not in plain:
                self.declare("method" if scope == "type" or before == "::" else "function", i)
        elif depth == 0 and after == "(" and not plain:
            pass  # a constructor, or a macro that declares
        elif depth == 0 and typed and after in (";", "=", "{", "[", ",", ":") and "=" not in plain and before != "operator":
            if not any("lock" in w.lower() for w in plain):  # which is held, not read
                self.declare("member" if scope == "type" and not {"constexpr", "static"} & set(plain) else "constant", i)
        elif depth == 1 and scope == "type" and before == "*" and self.at(i - 2) == "(" and after == ")":
            self.declare("member", i)  # a pointer to a function
        elif depth == 0 and before == "," and after in (";", "=", ",", "[", "{") and "=" in plain + ["="] and scope == "type":
            self.declare("member", i)
        elif depth > 0 and typed and after in (",", ")", "=", "["):
            pass  # a parameter
        else:
            self.read(i)

    def overrides(self, i):
        """Whether the function at i is marked `override`."""
        depth = 0
        for n in range(i + 1, len(self.tokens)):
            depth += (self.at(n) == "(") - (self.at(n) == ")")
            if depth == 0 and self.at(n) in ("{", ";", "override"):
                return self.at(n) == "override"
        return False

    @staticmethod
    def open_brackets(words):
        """Whether the list after `template` has not closed yet."""
        depth = 0
        for w in words[1:]:
            depth += (w == "<") - (w == ">")
            if depth == 0:
                return False
        return True

    @staticmethod
    def after_parameters(words):
        """Whether `) :` stands before: what follows are a constructor's initialisers."""
        return any(a == ")" and b == ":" or a == "noexcept" and b == ":" for a, b in zip(words, words[1:]))


def files_of(root, folders):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".cpp", ".h", ".def"):
                name = path.relative_to(root).as_posix()
                yield File(name, path.read_text(encoding="utf-8", errors="replace"))


def layers_of(root):
    """Folder -> number of its line in src/LAYERS; what is no folder of src/ stands above all."""
    lines = (root / "src/LAYERS").read_text().splitlines() if (root / "src/LAYERS").exists() else []
    return {folder: n for n, line in enumerate(lines) for folder in line.split("#")[0].split()}


def layer(layers, path):
    parts = path.split("/")
    return layers.get(parts[1], len(layers) + 1) if parts[0] == "src" else len(layers) + 1000


def unread(files, readers, layers):
    """(file, line, message) of each name of `files` that none of `readers` reads, in its own layer or above."""
    dotted, scoped, bare, folders = (defaultdict(lambda: -1), defaultdict(lambda: -1), defaultdict(lambda: -1),
                                     defaultdict(set))  # name -> the highest layer that reads it
    for f in readers:
        at = layer(layers, f.path)
        for highest, names in ((dotted, f.dotted), (scoped, f.scoped), (bare, f.bare)):
            for name in names:
                highest[name] = max(highest[name], at)
        folders[f.folder] |= f.bare
    types = {name for f in readers for kind, name, _ in f.declared if kind == "type"}
    by_others = BY_OTHERS | FOR_TESTS.keys() | set().union(*(f.overridden for f in readers))
    found = {}
    for f in files:
        for kind, name, line in f.declared:
            own = 0 if kind == "macro" else layer(layers, f.path)  # lists expand what those above them define
            ways = [dotted] if kind in ("member", "option") else [scoped, bare] if kind == "function" else [dotted, scoped]
            read = any(way[name] >= own for way in ways)
            if kind in ("member", "option", "method"):
                read = read or name in folders[f.folder]
            elif kind != "function":
                read = read or bare[name] >= own
            if not read and name not in by_others and not (name in types and kind != "type"):
                if (f.folder, name) not in found or kind == "option":
                    found[f.folder, name] = (f.path, line, f"nothing reads the {kind} `{name}`")
    return sorted(found.values())


def metrics(root, files):
    """Names in the table of metrics that no other file writes."""
    table = root / "src/io/metrics.cpp"
    if not table.exists():
        return []
    text = table.read_text()
    written = {t.text.strip('"') for f in files if f.path != "src/io/metrics.cpp" for t in f.tokens}
    return [("src/io/metrics.cpp", text.count("\n", 0, m.start()) + 1, f"nothing writes the metric `{m.group(1)}`")
            for m in re.finditer(r'^\s*\{"(\w+)", "', text, re.M) if m.group(1) not in written]


def check_tree(root):
    program, tests = list(files_of(root, ("src", "apps"))), list(files_of(root, ("tests",)))
    layers = layers_of(root)
    faults = unread(program, program, layers) + unread(tests, program + tests, layers) + metrics(root, program)
    return [f"{path}:{line}: {message}" for path, line, message in faults]


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
    "src/io/metrics.cpp": """
constexpr MetricInfo kMetrics[] = {
    {"loss", "1", "read"},
    {"idle_metric", "1", "not written"},
};
auto f() { return kMetrics; }
""",
    "apps/p/main.cpp": """
void run() { row({"loss", p::Pair(), f(), Options().visit()}); }
int start = (run(), 1) + start;
""",
    "tests/t.cpp": """
int idle_helper() { return 1; }
TEST_CASE("x") { CHECK(p::for_tests_idle() == idle_function(1) + IDLE_MACRO + kIdle); }
""",
}


def self_test():
    """Judges TREE; 0 where exactly what is named idle is found."""
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    faults = check_tree(options.root)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
