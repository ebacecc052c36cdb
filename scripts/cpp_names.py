"""What a C++ file declares and which names it reads, by its tokens alone: the parser of check_unused.py.

Declarations, definitions, assignments (`x = ...`, `.x = ...`), initialisers of a constructor and the line of an option's
visit() read nothing. A name is read after `.` or `->`, after `::`, or bare.
"""
import re

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
            if not re.match(r'\s*#\s*(include\s*["<]|undef)', whole):
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
        if before == "(" and self.at(i - 2) == "EFFLLM_KERNEL":
            self.declare("method", i)  # kernel::name
            return
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
            if text.isupper():  # a macro that declares; else a constructor
                self.read(i)
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
