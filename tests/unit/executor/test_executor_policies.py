"""What the executor permits: a table of calls, evidence and policies."""

from __future__ import annotations

from typing import Any

import pytest

from services.executor.policies import History, Proof, buckets, permit, same_call
from tandem.contracts.tasks import ExecuteTool
from tandem.contracts.values import call_hash, call_identity
from tandem.packs.model import Flow, Node, Pack, Policies, Slot, Tool

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"account": {"type": "string"}, "amount": {"type": "number"}, "to": {"type": "string"}},
    "required": ["account"],
}
ARGUMENTS = {"account": "a1", "amount": 50}
HASH = call_hash("pay", ARGUMENTS)
VERIFIED = {"s1": Proof("verify", {"verified": True}), "s2": Proof("allow", {"allowed": True})}
KNOWN = {"identity": "s1", "authorisation": "s2"}
AGREED = {"consent": "q1", "consent_subject": HASH}
APPROVED = {"approval": "p1", "approved_by": "expert:x", "approval_hash": HASH}
ALL = {**KNOWN, **AGREED}
STRICT: dict[str, Any] = {"identity_tools": ("verify",), "authorisation_tools": ("allow",)}


def make_tool(**facts: Any) -> Tool:
    return Tool.model_validate(
        {"name": "pay", "tool_class": "idempotent", "parameters": SCHEMA, "slots": {"account": "account"}, **facts}
    )


def make_pack(tool: Tool, **policies: Any) -> Pack:
    node = Node(id="n", kind="tool", sentence=1, tool="pay", args={"amount": "$due"})
    return Pack(
        name="p",
        hash="h",
        root="",
        tools={tool.name: tool},
        flows={"f": Flow(procedure="f", intent="i", start="n", nodes={"n": node})},
        slots={"account": Slot(name="account")},
        policies=Policies.model_validate({**STRICT, **policies}),
    )


def make_task(arguments: dict[str, Any] | None = None, **more: Any) -> ExecuteTool:
    arguments = ARGUMENTS if arguments is None else arguments
    return ExecuteTool.model_validate(
        {
            "id": "t",
            "tenant": "acme",
            "conversation": "c",
            "ticket": "k",
            "pack": "p",
            "step": "s3",
            "attempt": 1,
            "turn": 1,
            "deadline": 1,
            "tool": "pay",
            "effect": call_identity("k", "pay", arguments, 0)[0],
            "arguments": arguments,
            "arguments_hash": call_hash("pay", arguments),
            "expires": 1,
            "origins": dict.fromkeys(arguments, "system"),
            **more,
        }
    )


def reason_of(
    authority: dict[str, Any], policies: dict[str, Any], proofs: dict[str, Proof] | None = None, **task: Any
) -> str:
    tool = make_tool()
    history = History(VERIFIED if proofs is None else proofs)
    return permit(make_task(authority=authority, **task), tool, make_pack(tool, **policies), history).reason


@pytest.mark.parametrize(
    ("authority", "policies", "reason"),
    [
        (ALL, {}, ""),
        ({}, {}, "identity-missing"),
        ({**ALL, "identity": None}, {}, "identity-missing"),
        ({**ALL, "identity": "s9"}, {}, "identity-missing"),
        ({**ALL, "identity": "s2"}, {}, "identity-missing"),  # a step that ran another tool proves nothing
        ({**ALL, "authorisation": None}, {}, "authorisation-missing"),
        ({**ALL, "authorisation": "s1"}, {}, "authorisation-missing"),
        (AGREED, {"identity": "as_procedure", "authorisation": "none"}, ""),
        (AGREED, {"no_identity": ("pay",)}, ""),
        (KNOWN, {}, "consent-missing"),
        ({**KNOWN, "consent": "q1", "consent_subject": "of another call"}, {}, "consent-mismatch"),
        ({**KNOWN, "consent_subject": HASH}, {}, "consent-missing"),
        (KNOWN, {"consent": "none"}, ""),
        (KNOWN, {"no_consent": ("pay",)}, ""),
        (ALL, {"approvals": [{"tool": "pay"}]}, "approval-missing"),
        (ALL, {"approvals": [{"tool": "other"}]}, ""),
        (ALL, {"approvals": [{"tool": "pay", "when": "args.amount > 100"}]}, ""),
        (ALL, {"approvals": [{"tool": "pay", "when": "args.amount > 10"}]}, "approval-missing"),
        (ALL, {"approvals": [{"tool": "pay", "when": "args.amount + args.account"}]}, "approval-missing"),
        ({**ALL, **APPROVED}, {"approvals": [{"tool": "pay"}]}, ""),
        ({**ALL, **APPROVED, "approval_hash": "x"}, {"approvals": [{"tool": "pay"}]}, "approval-mismatch"),
        ({**ALL, **APPROVED, "approved_by": None}, {"approvals": [{"tool": "pay"}]}, "approval-mismatch"),
    ],
)
def test_evidence_a_write_needs(authority: dict[str, Any], policies: dict[str, Any], reason: str) -> None:
    assert reason_of(authority, policies) == reason


@pytest.mark.parametrize(
    ("step", "output", "reason"),
    [
        ("s1", {"verified": False}, "identity-failed"),
        ("s1", {}, "identity-failed"),
        ("s1", {"verified": "no"}, ""),  # the pack says what success is: any true value
        ("s2", {"allowed": None}, "authorisation-failed"),
    ],
)
def test_a_proof_must_say_yes(step: str, output: dict[str, Any], reason: str) -> None:
    proofs = {**VERIFIED, step: Proof(VERIFIED[step].tool, output)}
    assert reason_of(ALL, {}, proofs) == reason


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"account": "a1"}, ""),
        ({}, "arguments-invalid"),
        ({"account": 7}, "arguments-invalid"),
        ({"account": "a1", "amount": "50"}, "arguments-invalid"),
        ({"account": "a1", "url": "http://elsewhere"}, "arguments-invalid"),
    ],
)
def test_arguments_fit_the_schema(arguments: dict[str, Any], reason: str) -> None:
    tool = make_tool(tool_class="read")
    assert permit(make_task(arguments), tool, make_pack(tool), History()).reason == reason


def test_one_of_each_group_of_alternatives() -> None:
    tool = make_tool(tool_class="read", alternatives=(("amount", "to"),))
    pack = make_pack(tool)
    assert permit(make_task({"account": "a"}), tool, pack, History()).reason == "arguments-invalid"
    assert permit(make_task({"account": "a", "to": "b"}), tool, pack, History()).permitted


@pytest.mark.parametrize(
    ("arguments", "origins", "approved", "reason"),
    [
        ({"account": "a"}, {"account": "customer"}, False, ""),  # a slot of the tool
        ({"account": "a"}, {"account": "tool"}, False, ""),
        ({"account": "a"}, {"account": "knowledge"}, False, "origin"),
        ({"account": "a"}, {"account": "knowledge"}, True, ""),
        ({"account": "a", "amount": 1}, {"account": "system", "amount": "tool"}, False, ""),  # bound by the flow
        ({"account": "a", "amount": 1}, {"account": "system", "amount": "knowledge"}, False, ""),
        ({"account": "a", "to": "me"}, {"account": "system", "to": "customer"}, False, "origin"),
        ({"account": "a", "to": "me"}, {"account": "system", "to": "expert"}, False, ""),
        ({"account": "a", "to": "me"}, {"account": "system"}, False, "origin"),
        ({"account": "a", "to": "me"}, {"account": "system", "to": "customer"}, True, ""),
    ],
)
def test_who_may_choose_a_value(
    arguments: dict[str, Any], origins: dict[str, str], approved: bool, reason: str
) -> None:
    hash_ = call_hash("pay", arguments)
    authority = {**ALL, "consent_subject": hash_}
    if approved:
        authority |= {**APPROVED, "approval_hash": hash_}
    assert reason_of(authority, {}, arguments=arguments, origins=origins) == reason


def test_the_tools_that_prove_need_no_proof_themselves() -> None:
    tool = make_tool(name="verify")
    task = make_task(tool="verify")
    assert permit(task, tool, make_pack(tool), History()).permitted


def test_limits_count_under_their_value() -> None:
    tool = make_tool()
    limits = [{"tool": "pay", "max": 1, "per": "account"}, {"tool": "pay", "max": 5, "per": "tenant"}]
    pack = make_pack(tool, limits=limits, identity="none", authorisation="none", consent="none")
    task = make_task()
    [account, tenant] = buckets(task, tool, pack)
    assert permit(task, tool, pack, History(used={account: 0, tenant: 4})).permitted
    assert permit(task, tool, pack, History(used={account: 1})).reason == "limit"
    assert permit(task, tool, pack, History(used={tenant: 5})).reason == "limit"
    other = buckets(make_task({"account": "a2"}), tool, pack)
    assert account not in other
    assert tenant in other


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"arguments_hash": "x"}, False),
        ({"effect": "x"}, False),
        ({"n": 1}, False),
        ({"ticket": "other"}, False),
    ],
)
def test_id_and_hash_are_of_these_arguments(change: dict[str, Any], same: bool) -> None:
    assert (same_call(make_task().model_copy(update=change)) is None) is same
