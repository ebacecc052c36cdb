"""Reads the YAML of a resolved config: with PyYAML where it is installed, else with a parser of the subset it uses.

The subset: block mappings and sequences, flow collections within one line, plain and quoted scalars, comments.
Both ways share the rules of scalar(), so that 1e-6 is a number in either.
"""

from __future__ import annotations

import json
from typing import Any

Line = tuple[int, str, int]  # indentation, text, number in the file


def scalar(text: str) -> Any:
    """Returns None, bool, int, float or str for an unquoted scalar."""
    words = {"": None, "~": None, "null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def load(text: str) -> Any:
    """Returns the value of a YAML document; ValueError with the line where it cannot be read."""
    try:
        import yaml
    except ImportError:
        return parse(text)
    try:
        return _from_node(yaml.compose(text))
    except yaml.YAMLError as error:
        raise ValueError(f"YAML: {error}") from None


def parse(text: str) -> Any:
    """Reads the subset named above without PyYAML."""
    lines: list[Line] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _without_comment(raw).rstrip()
        if line.strip() and line.strip() != "---":
            lines.append((len(line) - len(line.lstrip(" ")), line.strip(), number))
    if not lines:
        return None
    value, end = _block(lines, 0)
    if end != len(lines):
        raise ValueError(f"YAML line {lines[end][2]}: unexpected indentation: {lines[end][1]}")
    return value


def _from_node(node: Any) -> Any:
    """Returns the value of a PyYAML node: only plain scalars, which have no style, can be numbers."""
    if node is None:
        return None
    if node.id == "mapping":
        return {key.value: _from_node(value) for key, value in node.value}
    if node.id == "sequence":
        return [_from_node(item) for item in node.value]
    return node.value if node.style else scalar(node.value)


def _without_comment(line: str) -> str:
    """Cuts the line at a # outside quotes that starts it or follows a space."""
    quote = ""
    for i, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and (i == 0 or line[i - 1] == " "):
            return line[:i]
    return line


def _key_end(text: str) -> int:
    """Index of the colon that ends a mapping's key, -1 if the text is no mapping entry."""
    if text[0] in "{[":
        return -1
    start = text.index(text[0], 1) if text[0] in "\"'" else 0
    for i in range(start, len(text)):
        if text[i] == ":" and (i + 1 == len(text) or text[i + 1] == " "):
            return i
    return -1


def _block(lines: list[Line], at: int) -> tuple[Any, int]:
    """Reads the block that starts at lines[at]; returns its value and the index of the line after it."""
    indent, text, number = lines[at]
    if text == "-" or text.startswith("- "):
        items: list[Any] = []
        while at < len(lines) and lines[at][0] == indent and (lines[at][1] == "-" or lines[at][1].startswith("- ")):
            rest = lines[at][1][1:].lstrip()
            if rest:
                # What follows the dash is a block of its own, indented by the dash and its spaces.
                lines[at] = (indent + len(lines[at][1]) - len(rest), rest, lines[at][2])
                item, at = _block(lines, at)
            else:
                item, at = _nested(lines, at + 1, indent + 1)
            items.append(item)
        return items, at
    if _key_end(text) < 0:
        return _flow_line(text, number), at + 1
    mapping: dict[str, Any] = {}
    while at < len(lines) and lines[at][0] == indent and not lines[at][1].startswith("- "):
        _, text, number = lines[at]
        colon = _key_end(text)
        if colon < 0:
            raise ValueError(f"YAML line {number}: expected 'key: value', found: {text}")
        key, rest = str(_flow_line(text[:colon].strip(), number)), text[colon + 1 :].strip()
        if rest:
            mapping[key], at = _flow_line(rest, number), at + 1
        else:
            # A sequence below a key may start at the key's own column.
            dash = at + 1 < len(lines) and lines[at + 1][1][:2] in ("-", "- ")
            mapping[key], at = _nested(lines, at + 1, indent if dash else indent + 1)
    return mapping, at


def _nested(lines: list[Line], at: int, least: int) -> tuple[Any, int]:
    """Reads the block at lines[at] if it is indented by at least that many columns, else the value is None."""
    if at < len(lines) and lines[at][0] >= least:
        return _block(lines, at)
    return None, at


def _flow_line(text: str, number: int) -> Any:
    """Reads a scalar or a flow collection that fills the rest of one line."""
    try:
        value, end = _flow(text, 0, "")
    except IndexError:
        raise ValueError(f"YAML line {number}: a bracket or quote is not closed: {text}") from None
    if text[end:].strip():
        raise ValueError(f"YAML line {number}: cannot read: {text[end:]}")
    return value


def _flow(text: str, at: int, stops: str) -> tuple[Any, int]:
    """Reads one flow value from text[at]; a plain scalar ends at one of the stops."""
    while text[at] == " ":
        at += 1
    if text[at] == "'":
        end = at + 1
        while text[end] != "'" or text[end : end + 2] == "''":
            end += 2 if text[end] == "'" else 1
        return text[at + 1 : end].replace("''", "'"), end + 1
    if text[at] == '"':
        end = at + 1
        while text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        return json.loads(text[at : end + 1]), end + 1
    if text[at] in "{[":
        return _flow_collection(text, at)
    end = at
    while end < len(text) and text[end] not in stops:
        end += 1
    return scalar(text[at:end].strip()), end


def _flow_collection(text: str, at: int) -> tuple[Any, int]:
    """Reads {key: value, ...} or [value, ...] from text[at]."""
    is_mapping, close = text[at] == "{", "}" if text[at] == "{" else "]"
    mapping: dict[str, Any] = {}
    items: list[Any] = []
    at += 1
    while True:
        while text[at] in " ,":
            at += 1
        if text[at] == close:
            return (mapping if is_mapping else items), at + 1
        value, at = _flow(text, at, ":,}" if is_mapping else ",]")
        if not is_mapping:
            items.append(value)
            continue
        while text[at] == " ":
            at += 1
        if text[at] == ":":
            mapping[str(value)], at = _flow(text, at + 1, ",}")
        else:
            mapping[str(value)] = None
