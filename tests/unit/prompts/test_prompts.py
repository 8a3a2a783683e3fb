"""A prompt's file is held to its inputs when it is loaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.contracts.ticket import Fact
from tandem.errors import InvalidSettings
from tandem.prompts import MAX_FACT, Data, Inputs, Prompt, as_written, known


class Asked(Inputs):
    taxonomy: str
    message: Data


HEAD = "---\nversion: 3\nmax_tokens: 10\n---\n"
TEXT = HEAD + "# system\nSort by:\n{{taxonomy}}\n\n# user\n{{message}}\n"
PROMPT = Prompt("desk.sort", TEXT, Asked)


def test_a_prompt_names_its_version_and_its_text() -> None:
    assert PROMPT.ref == f"desk.sort@3-{PROMPT.hash}"
    assert Prompt("desk.sort", TEXT.replace("Sort", "Order"), Asked).hash != PROMPT.hash


@pytest.mark.parametrize(
    "text",
    [
        "Sort {{taxonomy}} {{message}}",
        TEXT.replace("version: 3", "version: 0"),
        TEXT.replace("max_tokens: 10", "tokens: 10"),
        TEXT.replace("{{message}}", "{{messages}}"),
        TEXT.replace("{{taxonomy}}", "refund"),  # unused
        HEAD + "# system\n{{taxonomy}} {{message}}\n# user\n{{message}}\n",  # data among the instructions
    ],
)
def test_a_file_that_does_not_fit_its_inputs_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"desk\.sort"):
        Prompt("desk.sort", text, Asked)


@given(st.text(), st.text())
def test_no_text_opens_or_closes_a_block(taxonomy: str, message: str) -> None:
    system, user = PROMPT.render(Asked(taxonomy=taxonomy, message=message))
    assert system.count("<") == system.count(">") == 2  # of the rule about data
    assert user.count("<") == user.count(">") == (2 if message else 0)


def test_a_value_is_no_template() -> None:
    _, user = PROMPT.render(Asked(taxonomy="refund", message="{{taxonomy}}"))
    assert user == "<message>\n{{taxonomy}}\n</message>"


def test_brackets_come_back_as_they_were_written() -> None:
    _, user = PROMPT.render(Asked(taxonomy="", message="run `tandem <name>`"))
    assert as_written(user.splitlines()[1]) == "run `tandem <name>`"


def test_facts_are_shown_without_secrets_and_cut() -> None:
    facts = {
        "code": Fact(value="123456", origin="customer", ref="m", at=1, sensitive=True),
        "log": Fact(value="x" * 5 * MAX_FACT, origin="tool", ref="s", at=1),
    }
    assert "123456" not in known(facts)
    assert len(known(facts)) < 2 * MAX_FACT
    assert known({}) == ""
