"""Rehearsals: every branch is taken, what is wrong is found, and a file's customers are held to what is expected of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.embedded.rehearsal.customers import Customer, load_customers
from tandem.embedded.rehearsal.report import every_path, of_customers
from tandem.errors import InvalidPack
from tandem.packs.examples import matching, schema_value, slot_value
from tandem.packs.load import load_pack
from tandem.packs.model import Edge, Flow, Pack

CLOUD = Path(__file__).parents[3] / "packs" / "cloud_support"


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack(CLOUD)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CLOUD / "procedures").glob("*.md")))
def test_every_node_of_the_packs_procedures_is_reached_and_no_path_ends_wrongly(pack: Pack, name: str) -> None:
    report = every_path(pack, pack.flows[name])
    assert [path.wrong for path in report.paths if path.wrong] == []
    assert report.unreached == []
    assert not report.cut
    assert {path.outcome for path in report.paths} == {"resolved", "handed_over"}


def test_a_write_is_reported_with_its_evidence(pack: Pack) -> None:
    report = every_path(pack, pack.flows["unsubscribe_mailbox"])
    writes = [write for path in report.paths for write in path.writes if write.tool == "cancel_order"]
    assert writes
    assert all(write.identity and write.authorisation and write.consent and write.approval for write in writes)
    assert {write.sentence for write in writes} == {9}


def test_who_says_no_has_nothing_written(pack: Pack) -> None:
    refusals = [p for p in every_path(pack, pack.flows["refund"]).paths if "no to" in p.name or "refuse" in p.name]
    assert refusals
    assert all(path.writes == [] for path in refusals)


def change(flow: Flow, node: str, **fields: object) -> Flow:
    return flow.model_copy(update={"nodes": {**flow.nodes, node: flow.nodes[node].model_copy(update=fields)}})


def test_a_write_without_verification_ends_wrongly(pack: Pack) -> None:
    hasty = change(pack.flows["refund"], "ask_order", next=(Edge(to="look_up"),))
    report = every_path(pack.model_copy(update={"flows": {**pack.flows, "refund": hasty}}), hasty)
    assert not report.ok
    assert {path.wrong for path in report.paths if path.wrong} == {"handed over because refused:identity-missing"}
    assert "verify" in report.unreached


def test_a_loop_is_seen_and_ends(pack: Pack) -> None:
    endless = change(pack.flows["filing_progress"], "tell_action", next=(Edge(to="ask_number_again"),))
    report = every_path(pack.model_copy(update={"flows": {**pack.flows, "filing_progress": endless}}), endless)
    assert (report.paths[0].name, report.paths[0].reason) == ("as usual", "too_often:look_up")
    assert report.paths[0].loops == {"look_up": 3, "tell_action": 3, "ask_number_again": 3}


def test_more_paths_than_wanted_are_cut(pack: Pack) -> None:
    report = every_path(pack, pack.flows["refund"], limit=2)
    assert (len(report.paths), report.cut) == (2, True)


def customer(**fields: object) -> Customer:
    return Customer.model_validate({"name": "one", "procedure": "refund", **fields})


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"expect": {"outcome": "resolved", "calls": ["refund_order", "notify_owner"]}}, ""),
        ({"agrees": False, "expect": {"outcome": "resolved", "calls": []}}, ""),
        ({"agrees": False, "expect": {"outcome": "handed_over"}}, "it ended resolved (declined), not handed_over"),
        ({"expect": {"outcome": "resolved", "calls": []}}, "it wrote refund_order, notify_owner, not nothing"),
        ({"results": {"get_order": [{"self_refundable": False}]}, "expect": {"reason": "order_not_refundable"}}, ""),
        ({"fails": {"refund_order": {}}, "expect": {"nodes": ["pay_back", "not_done"]}}, ""),
        ({"expect": {"nodes": ["pay_back", "not_done"]}}, "not_done was not reached"),
        ({"gives": {"verification_code": ["111111", "222222"]}, "results": {
            "verify_identity": [{"verified": False, "reason": "wrong_code"}, {"verified": True, "email": "a@b.example"}]},
          "expect": {"nodes": ["ask_code_again", "verify", "tell"]}}, ""),
        ({"cannot_say": ["order_id"], "expect": {"outcome": "handed_over", "reason": "not_understood"}}, ""),
    ],
)  # fmt: skip
def test_a_told_customer_is_held_to_what_is_expected(pack: Pack, fields: dict[str, object], wrong: str) -> None:
    (report,) = of_customers(pack, [customer(**fields)])
    assert report.paths[0].wrong == wrong


def test_a_file_of_customers_names_what_is_wrong_with_it(pack: Pack, tmp_path: Path) -> None:
    file = tmp_path / "customers.yaml"
    file.write_text(
        "- {name: a, procedure: refnd, results: {get_ordr: [{}]}}\n- {name: b, procedure: refund, gvies: {}}\n"
    )
    with pytest.raises(InvalidPack) as caught:
        load_customers(file, pack)
    assert len(caught.value.problems) == 3


@given(
    st.integers(1, 30), st.sampled_from([r"\b\d{6}\b", r"ORD-\d{4,}", r"i-[a-z0-9]{8}", r"(a|b)c?[^x]+", r"^\w\s.$"])
)
def test_an_example_matches_its_pattern(n: int, pattern: str) -> None:
    assert re.search(pattern, matching(pattern, n))


def test_examples_have_the_right_shape(pack: Pack) -> None:
    slots = {name: slot_value(slot, 1) for name, slot in pack.slots.items()}
    assert slots["account_email"] == "customer1@example.com"
    assert re.fullmatch(r"ORD-\d{4}", str(slots["order_id"]))
    assert slot_value(pack.slots["verification_code"], 1) != slot_value(pack.slots["verification_code"], 2)
    schema = {"properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "array", "items": {"type": "boolean"}}}}
    assert schema_value(schema) == {"a": "x", "b": [True]}
    assert schema_value({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 4}]}) == 4
