"""The rules of `policies.py` hold for every overlay, and each of them can fail."""

from __future__ import annotations

import pytest

from tests.deploy.policies import RULES, Rule
from tests.deploy.tools import OVERLAYS, rendered

pytestmark = pytest.mark.kustomize
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)


@pytest.mark.parametrize("overlay", OVERLAYS)
@each_rule
def test_it_holds(rule: Rule, overlay: str) -> None:
    assert list(rule.check(rendered(overlay))) == []


@each_rule
def test_it_can_fail(rule: Rule) -> None:
    docs = rendered("prod")
    rule.spoil(docs)
    assert list(rule.check(docs))


def test_there_are_rules_enough_and_no_sentence_twice() -> None:
    assert len({rule.sentence for rule in RULES}) == len(RULES) >= 20
