"""Programs of a pack: read as they are written, and checked before release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tandem.packs.check import check
from tandem.packs.files import sentence_hash
from tandem.packs.registry import Packs
from tests.unit.packs.shop import Files, files, operation, write

STRING = {"type": "string"}
SENTENCES = ("Ask for the order.", "Sum it up.", "Say it.")


def with_program() -> Files:
    """The shop with a second procedure, whose only step is a program that reads."""
    content = files()
    content["intents.yaml"].append(
        {"name": "sum", "description": "sum up", "procedure": "sum", "scenario": "operate",
         "label": {"en": "a sum", "zh": "合计"}, "examples": {"en": ["sum it up"], "zh": ["合计"]}}
    )  # fmt: skip
    content["tools/shop.yaml"]["paths"]["/find"] = {"post": operation("find", "read", {"id": STRING}, ["id"])}
    content["procedures/sum.md"] = "---\nintent: sum\n---\n# Sum\n\n" + "".join(
        f"{number}. {text}\n" for number, text in enumerate(SENTENCES, 1)
    )
    hashes = {number: sentence_hash(text) for number, text in enumerate(SENTENCES, 1)}
    content["procedures/sum.flow.yaml"] = {
        "nodes": {
            "ask": {"sentence": 1, "sentence_hash": hashes[1], "slots": ["order_id"], "next": "sum"},
            "sum": {
                "sentence": 2, "sentence_hash": hashes[2], "program": "sum", "args": {"order": "$order_id"},
                "save": {"total": "result.total"}, "next": "tell",
            },
            "tell": {"sentence": 3, "sentence_hash": hashes[3], "text": {"en": "{total}", "zh": "{total}"}, "next": "end"},
        }
    }  # fmt: skip
    content["programs/sum.py"] = "def main(order):\n    return {'total': find(id=order)['amount']}\n"
    content["programs/sum.yaml"] = {
        "tools": ["find"],
        "inputs": {"type": "object", "required": ["order"], "properties": {"order": STRING}},
    }
    return content


def problems(folder: Path, content: Files) -> str:
    write(folder, content)
    return "\n".join(str(problem) for problem in check(folder / "shop") if problem.severity == "error")


def test_a_pack_with_a_program_passes_every_check(tmp_path: Path) -> None:
    assert problems(tmp_path, with_program()) == ""
    program = Packs(tmp_path).get("shop").programs["sum"]
    assert (program.tools, program.required, program.max_calls) == (("find",), ("order",), 20)
    assert program.code.startswith("def main(order)")


def _code(text: str) -> Callable[[Files], None]:
    return lambda content: content.update({"programs/sum.py": text})


def _declared(**fields: object) -> Callable[[Files], None]:
    return lambda content: content["programs/sum.yaml"].update(fields)


def _node(**fields: object) -> Callable[[Files], None]:
    return lambda content: content["procedures/sum.flow.yaml"]["nodes"]["sum"].update(fields)


BREAKS: dict[str, tuple[Callable[[Files], None], str]] = {
    "no declaration": (lambda content: content.pop("programs/sum.yaml"), "write programs/sum.yaml"),
    "no code": (lambda content: content.pop("programs/sum.py"), "has no code"),
    "an unknown tool": (_declared(tools=["fnd"]), "did you mean 'find'"),
    "an unknown field": (_declared(tool="find"), "there is no field"),
    "too many calls": (_declared(max_calls=1000), "less than or equal to 40"),
    "no Python": (_code("def main(:"), "is not Python"),
    "no main": (_code("x = 1"), "has no `def main(...)`"),
    "other inputs": (_code("def main(orders): return {}"), "must take exactly what `inputs` declares"),
    "any inputs": (_code("def main(**order): return {}"), "must take exactly what `inputs` declares"),
    "an unknown program": (_node(program="sun"), "did you mean 'sum'"),
    "an unknown input": (_node(args={"order": "$order_id", "more": 1}), "there is no input 'more'"),
    "a missing input": (_node(args={}), "'order' is missing"),
    "an unknown fact": (_node(args={"order": "$nothing"}), "'nothing'"),
    "a write of an unknown customer": (
        _declared(tools=["find", "change_address"]),
        "identity is not certain on every path here",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_wrong_with_a_program_is_said(tmp_path: Path, name: str) -> None:
    change, expected = BREAKS[name]
    content = with_program()
    change(content)
    assert expected in problems(tmp_path, content)
