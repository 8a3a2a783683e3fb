"""Reading a pack's files: YAML 1.2, procedures in Markdown, and the hash over everything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from tandem.packs.problems import Problems, at

MAX_FILE_BYTES = 5_000_000
_SENTENCE = re.compile(r"^ {0,3}(\d+)[.)]\s+(\S.*)$")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n?(.*)\Z", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: in a language for people, `no` and `2024-01-01` are words."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is written twice; keep one", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}  # the inherited ones are YAML 1.1's
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?$", list("-+0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def parse_yaml(text: str) -> Any:
    """YAML 1.2 core. Raises yaml.YAMLError, also for a key written twice."""
    return yaml.load(text, Loader=_Loader)


def read_text(root: Path, path: Path, problems: Problems) -> str | None:
    place = path.relative_to(root).as_posix()
    try:
        raw = path.read_bytes()
    except OSError as error:
        problems.error(place, f"cannot be read ({error.strerror}); add the file or its permissions")
        return None
    if len(raw) > MAX_FILE_BYTES:
        problems.error(place, f"has {len(raw)} bytes; split it into files of at most {MAX_FILE_BYTES}")
        return None
    try:
        return raw.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        problems.error(place, f"is not UTF-8 at byte {error.start}; save it as UTF-8")
        return None


def read_yaml(root: Path, path: Path, problems: Problems) -> Any:
    """The file's content, None with a problem written down if it cannot be read."""
    text = read_text(root, path, problems)
    return None if text is None else _parsed(text, path.relative_to(root).as_posix(), problems)


def read_mapping(root: Path, path: Path, problems: Problems) -> dict[str, Any] | None:
    """The file's content if it is a mapping."""
    before = len(problems.found)
    data = read_yaml(root, path, problems)
    if isinstance(data, dict):
        return {str(key): value for key, value in data.items()}
    if len(problems.found) == before:
        problems.error(path.relative_to(root).as_posix(), "must be a mapping of fields, like `name: value`")
    return None


def read_procedure(root: Path, path: Path, problems: Problems) -> tuple[dict[str, Any], dict[int, str]]:
    """Front matter and sentences by number."""
    place = path.relative_to(root).as_posix()
    text = read_text(root, path, problems)
    if text is None:
        return {}, {}
    match = _FRONT_MATTER.match(text)
    if match is None:
        problems.error(place, "has no front matter; begin with `---`, `intent: NAME`, `---`")
        return {}, _sentences(text, place, problems)
    front = _parsed(match.group(1), place, problems)
    if not isinstance(front, dict) or not isinstance(front.get("intent"), str):
        problems.error(at(place, "front matter"), "must say which intent it serves: `intent: NAME`")
        front = {}
    return front, _sentences(match.group(2), place, problems)


def sentence_hash(text: str) -> str:
    """What a node keeps of its sentence, so that a change of wording is found."""
    return hashlib.blake2b(" ".join(text.split()).encode()).hexdigest()[:8]


def pack_files(root: Path) -> list[Path]:
    """Every file of a pack, sorted. Hidden files and byte code are not part of it."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(p.startswith((".", "__pycache__")) for p in path.relative_to(root).parts)
    )


def pack_hash(root: Path) -> str:
    """Names exactly this version: a hash over the names and bytes of all files."""
    whole = hashlib.blake2b(digest_size=8)
    for path in pack_files(root):
        body = path.read_bytes()
        whole.update(f"{path.relative_to(root).as_posix()}\0{len(body)}\0".encode())
        whole.update(body)
    return whole.hexdigest()


def _parsed(text: str, place: str, problems: Problems) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problems.error(at(place, f"line {mark.line + 1}" if mark else "the file"), f"is not YAML: {_said(error)}")
        return None


def why_unreadable(error: Exception) -> str:
    """Why a document could not be read, in one line."""
    if not isinstance(error, yaml.YAMLError):
        return getattr(error, "strerror", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    return f"{_said(error)}{f' in line {mark.line + 1}' if mark else ''}"


def _said(error: yaml.YAMLError) -> str:
    return " ".join((getattr(error, "problem", None) or str(error)).split())


def _sentences(text: str, place: str, problems: Problems) -> dict[int, str]:
    found: dict[int, str] = {}
    current: int | None = None
    for line in text.splitlines():
        match = _SENTENCE.match(line)
        if match:
            current = int(match.group(1))
            if current != len(found) + 1:
                problems.error(at(place, f"sentence {current}"), f"number it {len(found) + 1}: sentences count from 1")
            found[current] = match.group(2).strip()
        elif not line.strip() or line.startswith("#"):
            current = None
        elif current is not None:
            found[current] = f"{found[current]} {line.strip()}"
    if not found:
        problems.error(place, "has no numbered sentences; write `1. ...`, `2. ...`")
    return found
