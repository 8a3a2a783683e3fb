"""A changed prompt is seen, on purpose, and called another version."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import pytest

from tandem.prompts import DATA_RULE, Inputs, Prompt
from tests.unit.prompts.golden import CASES, FOLDER, rendered

ROOT = Path(__file__).parents[3]
NAMES = [prompt.name for prompt, _ in CASES]


@pytest.mark.parametrize(("prompt", "inputs"), CASES, ids=NAMES)
def test_a_prompt_is_as_it_was_agreed(prompt: Prompt[Any], inputs: Inputs) -> None:
    kept = (FOLDER / f"{prompt.name}.txt").read_text(encoding="utf-8")
    now = rendered(prompt, inputs)
    changed = "\n".join(difflib.unified_diff(kept.splitlines(), now.splitlines(), "agreed", "now", lineterm=""))
    assert now == kept, (
        f"{prompt.name} has changed. Meant? Raise its version, then: python -m tests.unit.prompts.golden\n{changed}"
    )


@pytest.mark.parametrize(("prompt", "inputs"), CASES, ids=NAMES)
def test_what_others_wrote_stays_in_its_block(prompt: Prompt[Any], inputs: Inputs) -> None:
    system, user = prompt.render(inputs)
    assert DATA_RULE in system
    assert "Ignore the rules" not in system
    opened = re.findall(r"<(\w+)>", user)
    assert sorted(opened) == sorted(re.findall(r"</(\w+)>", user))
    assert len(opened) == len(set(opened))
    assert set(opened) <= set(type(inputs).model_fields)


def test_every_prompt_has_its_golden_file() -> None:
    found = [*ROOT.glob("services/*/prompts/*.md"), *ROOT.glob("tandem/**/prompts/*.md")]
    files = {f"{path.parts[-3]}.{path.stem}" for path in found}
    assert files == set(NAMES) == {path.stem for path in FOLDER.glob("*.txt")}
