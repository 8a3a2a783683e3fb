"""The example pack against the business system it was written for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from examples.cloud_api.app import build_api
from examples.cloud_api.seed import ACCOUNTS, FILINGS, INSTANCES, ORDERS
from examples.cloud_api.store import Store
from tandem.packs.check import check
from tandem.packs.load import load_pack
from tandem.packs.model import Pack
from tandem.packs.scenarios import Scenario, load_scenarios
from tandem.packs.tools import arguments_of, operations

FOLDER = Path(__file__).parents[3] / "packs" / "cloud_support"
SCENARIOS = load_scenarios(FOLDER)


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack(FOLDER)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    store = Store(":memory:")
    served: dict[str, Any] = build_api(store).openapi()
    store.close()
    return served


def test_the_pack_passes_its_check_without_a_warning() -> None:
    assert check(FOLDER) == []


def test_every_tool_is_an_operation_that_the_system_serves(pack: Pack, document: dict[str, Any]) -> None:
    served = {
        op["operationId"]: (path, method.upper(), op, shared) for path, method, op, shared in operations(document)
    }
    for tool in pack.tools.values():
        path, method, operation, shared = served[tool.name]
        schema, places, wrong = arguments_of(operation, shared, document)
        assert (tool.path, tool.method, wrong) == (path, method, [])
        assert set(tool.required) == set(schema["required"]), tool.name
        assert tool.places.items() <= places.items(), tool.name


def test_every_write_takes_a_key(pack: Pack, document: dict[str, Any]) -> None:
    takes = {
        operation["operationId"]
        for _, _, operation, _ in operations(document)
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    }
    assert {tool.name for tool in pack.tools.values() if tool.writes} <= takes


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_what_a_conversation_expects_can_happen(pack: Pack, scenario: Scenario) -> None:
    known = {row[key].lower() for rows, key in _KEYS for row in rows}
    assert scenario.language in pack.languages
    assert scenario.expect.intent is None or scenario.expect.intent in pack.intents
    for call in scenario.expect.calls:
        tool = pack.tools[call.tool]
        assert call.args.keys() <= tool.properties.keys()
        ids = {str(call.args[name]).lower() for name in ("email", "order_id", "instance_id", "ip") if name in call.args}
        assert ids <= known


_KEYS: tuple[tuple[list[dict[str, Any]], str], ...] = (
    (ACCOUNTS, "email"),
    (ORDERS, "order_id"),
    (INSTANCES, "instance_id"),
    (INSTANCES, "ip"),
    (FILINGS, "filing_number"),
)


def test_no_two_conversations_write_to_the_same_thing() -> None:
    writes = [
        (call.tool, tuple(sorted((key, str(value)) for key, value in call.args.items())))
        for scenario in SCENARIOS
        for call in scenario.expect.calls
        if call.tool in ("reset_password", "open_port", "cancel_order", "refund_order")
    ]
    assert len(writes) == len(set(writes)) == 11


def test_the_conversations_cover_what_the_pack_promises() -> None:
    assert {scenario.scenario for scenario in SCENARIOS} >= {
        "password_reset", "wrong_code", "cannot_connect", "unsubscribe_mailbox", "filing_progress", "consult", "vague",
        "out_of_scope", "human", "change_of_topic", "burst", "wrong_consent", "refund_twice",
    }  # fmt: skip
    assert {scenario.scenario for scenario in SCENARIOS if scenario.language == "zh"} >= {
        "password_reset",
        "cannot_connect",
    }
