"""A procedure's program, with everything killed with -9 at each of its calls: it goes on, and the customer is told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.platform.processes import Customer, processes
from tests.integration.platform.test_kill_up import Deployment

RUNS = 4
"""Of the program: up to its first call, after each of three answers."""


@pytest.mark.asyncio
async def test_a_program_survives_the_death_of_everything_at_each_of_its_calls(tmp_path: Path) -> None:
    with processes() as running:
        deployment = Deployment(tmp_path, running)
        await deployment.cloud.start(running)
        # Its first task after a start is the one that nobody has committed; the second is the next run.
        dying = await deployment.up(TANDEM_KILL_POINT="function_agent.loop.2:1")
        async with deployment.connected() as wiring:
            customer = Customer(wiring)
            await customer.says("how much do we pay for our mailboxes altogether?")
            await customer.is_told("e-mail")
            await customer.says("carol@example.com, the code is 112233")
            for _ in range(RUNS - 1):
                await dying.is_dead()
                dying = await deployment.up(TANDEM_KILL_POINT="function_agent.loop.2:2")
            await dying.is_dead()
            await deployment.up()
            await customer.is_told("together 156.00")
            told = [reply.text() for reply in await customer.replies()]
        assert len([text for text in told if "together" in text]) == 1
        shown = await deployment.show(customer.conversation)
    assert (shown["owner"], shown["status"]) == ("bot", "resolved")
    called = [event["name"] for event in shown["timeline"] if event["kind"] == "effect_done"]
    assert called == ["verify_identity", "list_mailbox_orders", "get_order", "get_order"]
