"""The executor with the example pack, against the business system it is written for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from examples.cloud_api.server import running
from tandem.bus.base import Bus
from tandem.contracts.tasks import ExecuteTool, ToolResult
from tandem.contracts.values import call_hash
from tandem.packs.load import load_pack
from tests.integration.executor.world import Process, make_task

PACK = load_pack(Path(__file__).parents[3] / "packs" / "cloud_support")
EMAIL = "alice@example.com"
PROOFS = {"identity": "s-verify_identity", "authorisation": "s-check_authorisation"}


class Desk:
    """One ticket's calls, as the owner would send them."""

    def __init__(self, bus: Bus, url: str, ticket: str) -> None:
        self.process = Process(bus, PACK, env={"CLOUD_API_URL": url})
        self.ticket = ticket

    async def call(self, tool: str, authority: dict[str, Any] | None = None, **arguments: Any) -> ToolResult:
        return (await self.process.execute(self.task(tool, authority, **arguments))).result

    def task(self, tool: str, authority: dict[str, Any] | None = None, **arguments: Any) -> ExecuteTool:
        return make_task(tool, self.ticket, arguments=arguments, authority=authority or {})

    async def verify(self, operation: str, code: str = "246810") -> None:
        await self.call("verify_identity", email=EMAIL, code=code)
        await self.call("check_authorisation", email=EMAIL, operation=operation)

    @staticmethod
    def agreed(tool: str, **arguments: Any) -> dict[str, Any]:
        return {**PROOFS, "consent": "q1", "consent_subject": call_hash(tool, arguments)}


@pytest.mark.asyncio
async def test_a_password_is_reset_after_identity_authorisation_and_consent(
    bus: Bus, tmp_path: Path, ticket: str
) -> None:
    async with running(tmp_path / "cloud.db") as url:
        desk = Desk(bus, url, ticket)
        agreed = desk.agreed("reset_password", email=EMAIL)
        assert (await desk.call("reset_password", agreed, email=EMAIL)).reason == "identity-missing"
        await desk.verify("reset_password", code="000000")
        assert (await desk.call("reset_password", agreed, email=EMAIL)).reason == "identity-failed"
        await desk.verify("reset_password")
        assert (await desk.call("reset_password", PROOFS, email=EMAIL)).reason == "consent-missing"
        done = await desk.call("reset_password", agreed, email=EMAIL)
        assert (done.status, done.evidence) == ("done", done.output["reset_id"])
        assert (await desk.call("reset_password", agreed, email=EMAIL)).repeated
        told = await desk.call("notify_owner", PROOFS, email=EMAIL, event="password_reset")
        assert told.status == "done"


@pytest.mark.asyncio
async def test_a_refund_asked_for_in_two_tickets_is_made_once(bus: Bus, tmp_path: Path, ticket: str) -> None:
    async with running(tmp_path / "cloud.db") as url:
        results = []
        for number in range(2):
            desk = Desk(bus, url, f"{ticket}-{number}")
            await desk.verify("refund_order")
            results.append(
                await desk.call("refund_order", desk.agreed("refund_order", order_id="ORD-1042"), order_id="ORD-1042")
            )
        assert [result.status for result in results] == ["done", "done"]
        assert [result.repeated for result in results] == [False, True]
        assert results[0].output == results[1].output


@pytest.mark.asyncio
async def test_a_diagnosis_is_followed_to_its_end(bus: Bus, tmp_path: Path, ticket: str) -> None:
    async with running(tmp_path / "cloud.db", diagnosis_ms=50) as url:
        result = await Desk(bus, url, ticket).call("diagnose_instance", instance_id="i-7f3a9c21")
        assert (result.status, result.output["finding"]) == ("done", "port_closed")


@pytest.mark.asyncio
async def test_a_cancellation_needs_an_expert(bus: Bus, tmp_path: Path, ticket: str) -> None:
    async with running(tmp_path / "cloud.db") as url:
        desk = Desk(bus, url, ticket)
        await desk.verify("cancel_order")
        agreed = desk.agreed("cancel_order", order_id="ORD-2002")
        assert (await desk.call("cancel_order", agreed, order_id="ORD-2002")).reason == "approval-missing"
        approval = {"approval": "p1", "approved_by": "expert:x", "approval_hash": agreed["consent_subject"]}
        assert (await desk.call("cancel_order", agreed | approval, order_id="ORD-2002")).status == "done"
