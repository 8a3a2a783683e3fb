"""τ³ with a model: a scripted endpoint plans, plays the customer and judges, through the whole platform."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tandem.bench.tau.run import measure, model_of
from tandem.errors import Unavailable
from tandem.settings import Settings
from tests.unit.bench import tau_data
from tests.unit.bench.tau_data import CANCEL, WHO

OPENING = "I am Kim Berg, zip 10101. Please cancel order #W0000001, it is no longer needed."


def said(asked: dict[str, Any]) -> str:
    """What the model answers: it knows the three who ask by what they are told."""
    system = asked["messages"][0]["content"]
    last = str(asked["messages"][-1]["content"])
    if "You play a customer" in system:
        if len(asked["messages"]) == 2:
            return OPENING
        return "Yes" if "cancel_pending_order" in last or "Cancel a pending order" in last else "###STOP###"
    if "You judge" in system:
        return json.dumps({"held": ["cancel_pending_order" in last]})
    steps = [
        {"kind": "tool", **WHO},
        {"kind": "tool", "needs": [0], **CANCEL},
        {"kind": "reply", "needs": [1], "text": "Your order is cancelled; 20.0 is back on your gift card."},
    ]
    steps = [{"kind": "done"}] if "observations" in last else steps
    return json.dumps({"steps": steps, "reason": "as asked", "confidence": 0.9})


@pytest_asyncio.fixture
async def model(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async def chat(request: web.Request) -> web.Response:
        asked = await request.json()
        choice = {"index": 0, "message": {"role": "assistant", "content": said(asked)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        return web.json_response({"model": asked["model"], "choices": [choice], "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("TANDEM_LLM_BASE_URL", f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
    monkeypatch.setenv("TANDEM_LLM_MODEL", "scripted")
    monkeypatch.setenv("TAU_TOOLS_URL", "")
    yield
    await runner.cleanup()


@pytest.mark.asyncio
async def test_the_whole_protocol(model: None, tmp_path: Path) -> None:
    data = tau_data.write(tmp_path / "tau3")
    wanted = {"reward_basis": ["DB", "COMMUNICATE", "NL_ASSERTION"], "communicate_info": ["20.0"]}
    task = tau_data.task("0", "You want to cancel #W0000001.", tau_data.KIM, WHO, CANCEL, **wanted)
    task["evaluation_criteria"]["nl_assertions"] = ["Agent cancels the order."]
    tau_data.dump(data / "retail" / "tasks_train.json", [task])
    settings = Settings(home=tmp_path / "home", packs=tmp_path / "packs", http_port=None)
    assert model_of(settings) == "scripted"
    found, [outcome] = await measure(settings, data, "retail", "train", None, "platform")
    assert (outcome.equal, outcome.told, outcome.run.asserted, outcome.run.unsafe) == (True, True, True, 0)
    assert [call.name for call in outcome.run.office.calls] == ["find_user_id_by_name_zip", "cancel_pending_order"]
    assert (found["model"]["name"], found["model"]["success"], found["model"]["unjudged"]) == ("scripted", 1.0, 0)
    assert found["model"]["tokens"] > 0
    assert (found["database_equal"], found["write_precision"], found["write_recall"]) == (1.0, 1.0, 1.0)


@pytest.mark.asyncio
async def test_a_model_that_is_not_there_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_LLM_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("TANDEM_LLM_MODEL", "absent")
    monkeypatch.setenv("TAU_TOOLS_URL", "")
    settings = Settings(home=tmp_path / "home", packs=tmp_path / "packs", http_port=None)
    with pytest.raises(Unavailable, match="absent played no customer"):
        await measure(settings, tau_data.write(tmp_path / "tau3"), "retail", "train", 1, "platform")
