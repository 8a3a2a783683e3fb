"""The example business system, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from examples.cloud_api.server import running
from examples.cloud_api.store import Store

Ask = Callable[..., Awaitable[tuple[int, Any]]]

RESET = ("POST", "/password-resets", {"email": "alice@example.com"})
REFUND = ("POST", "/orders/ORD-1042/refunds", None)


@asynccontextmanager
async def cloud(db: Path, diagnosis_ms: int = 0) -> AsyncIterator[Ask]:
    async with running(db, diagnosis_ms=diagnosis_ms) as url, aiohttp.ClientSession(url) as session:

        async def ask(method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
            headers = {"Idempotency-Key": key} if key else {}
            async with session.request(method, path, json=body, headers=headers) as response:
                return response.status, await response.json() if response.status != 204 else None

        yield ask


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "expected"),
    [
        ("POST", "/identity/verifications", {"email": "Alice@example.com", "code": "246810"}, 200, {"verified": True}),
        ("POST", "/identity/verifications", {"email": "alice@example.com", "code": "000000"}, 200, {"reason": "wrong_code"}),
        ("POST", "/identity/verifications", {"email": "x@y.z", "code": "000000"}, 200, {"reason": "unknown_account"}),
        ("POST", "/identity/verifications", {"email": "alice@example.com", "code": "1"}, 422, {}),
        ("GET", "/permissions?email=alice@example.com&operation=reset_password", None, 200, {"allowed": True}),
        ("GET", "/permissions?email=frank@example.com&operation=reset_password", None, 200, {"allowed": False}),
        ("GET", "/permissions?email=dave@example.com&operation=open_port&resource=i-7f3a9c21", None, 200, {"allowed": True}),
        ("GET", "/permissions?email=dave@example.com&operation=open_port&resource=i-b04e77d5", None, 200, {"allowed": False}),
        ("GET", "/permissions?email=nobody@example.com&operation=open_port", None, 404, {"code": "not_found"}),
        ("GET", "/orders/ord-1042", None, 200, {"order_id": "ORD-1042", "self_refundable": True}),
        ("GET", "/orders/ORD-9999", None, 404, {"code": "not_found"}),
        ("POST", "/orders/ORD-1090/refunds", None, 409, {"code": "not_refundable"}),
        ("GET", "/filings/ICP2026-00871", None, 200, {"stage_number": 4}),
        ("POST", "/diagnoses", {}, 422, {"code": "instance_missing"}),
        ("GET", "/diagnoses/diag-1", None, 404, {"code": "not_found"}),
    ],
)  # fmt: skip
async def test_answers(
    tmp_path: Path, method: str, path: str, body: Any, status: int, expected: dict[str, Any]
) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        got, answer = await ask(method, path, body)
    assert got == status
    assert expected.items() <= answer.items()


@pytest.mark.asyncio
async def test_the_same_key_is_one_effect_and_one_answer(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        first = await ask(*RESET, key="k1")
        again = await ask(*RESET, key="k1")
        _, effects = await ask("GET", "/_effects")
    assert first == again
    assert first[0] == 200
    assert [(e["operation"], e["key"], e["asked"]) for e in effects] == [("reset_password", "k1", 2)]
    assert effects[0]["request"] == {"email": "alice@example.com"}
    assert effects[0]["response"] == first[1]


@pytest.mark.asyncio
async def test_the_same_key_for_another_request_is_refused(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        await ask(*RESET, key="k1")
        other_body = await ask("POST", "/password-resets", {"email": "erin@example.com"}, key="k1")
        other_operation = await ask(*REFUND, key="k1")
        _, effects = await ask("GET", "/_effects")
    assert (other_body[0], other_operation[0], len(effects)) == (409, 409, 1)
    assert other_body[1]["code"] == "key_reused"


@pytest.mark.asyncio
async def test_another_key_is_another_refund(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        one = await ask(*REFUND, key="k1")
        two = await ask(*REFUND, key="k2")
        _, effects = await ask("GET", "/_effects?operation=refund_order")
    assert one[1]["refund_id"] != two[1]["refund_id"]
    assert len(effects) == 2


@pytest.mark.asyncio
async def test_a_refused_request_leaves_no_effect_and_its_key_free(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        await ask("POST", "/orders/ORD-2002/cancellations", {}, key="k1")
        refused = await ask("POST", "/orders/ORD-2002/cancellations", {}, key="k2")
        _, unknown = await ask("GET", "/cancellations/k2")
        _, found = await ask("GET", "/cancellations/k1")
        _, effects = await ask("GET", "/_effects")
    assert refused[1]["code"] == "not_cancellable"
    assert len(effects) == 1
    assert unknown == {"found": False, "cancellation": None}
    assert found["cancellation"]["order_id"] == "ORD-2002"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_", "finding"),
    [
        ({"instance_id": "i-7f3a9c21"}, {"finding": "port_closed", "port": 22, "service": "SSH"}),
        ({"ip": "203.0.113.57"}, {"finding": "port_closed", "port": 443, "instance_id": "i-b04e77d5"}),
        ({"instance_id": "i-b04e77d5", "port": 22}, {"finding": "nothing"}),
        ({"instance_id": "i-55aa0f3b"}, {"finding": "stopped"}),
        ({"ip": "192.0.2.1"}, {"finding": "unknown_instance"}),
    ],
)
async def test_a_diagnosis_finds(tmp_path: Path, request_: dict[str, Any], finding: dict[str, Any]) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        status, job = await ask("POST", "/diagnoses", request_, key="d1")
        _, same = await ask("POST", "/diagnoses", request_, key="d1")
        _, report = await ask("GET", f"/diagnoses/{job['job_id']}")
        _, effects = await ask("GET", "/_effects")
    assert (status, job["state"], report["state"], effects) == (202, "running", "done", [])
    assert same["job_id"] == job["job_id"]
    assert finding.items() <= report["result"].items()


@pytest.mark.asyncio
async def test_a_diagnosis_survives_a_restart_and_moves_on(tmp_path: Path) -> None:
    now = 1_000.0
    store = Store(tmp_path / "cloud.db", diagnosis_ms=4_000, now=lambda: now)
    job = store.start_job(None, {"ip": "203.0.113.24"})
    store.close()
    store = Store(tmp_path / "cloud.db", diagnosis_ms=4_000, now=lambda: now)
    shares, lines = [], []
    for now in (1_000.0, 1_001.0, 1_003.0, 1_009.0):  # noqa: B007 - the store reads it
        _, part, line = store.job(job)
        shares.append(part)
        lines.append(line)
    store.close()
    assert shares == [0.0, 0.25, 0.75, 1.0]
    assert len(set(lines)) == 4


@pytest.mark.asyncio
async def test_an_opened_port_can_be_reached(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        _, before = await ask("GET", "/instances/i-7f3a9c21/ports/22")
        status, rule = await ask("POST", "/instances/i-7f3a9c21/ports", {"port": 22}, key="p1")
        _, after = await ask("GET", "/instances/i-7f3a9c21/ports/22")
    assert (before["open"], status, rule["port"], after["reachable"]) == (False, 200, 22, True)


@pytest.mark.asyncio
async def test_it_fails_n_times_and_then_works(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        await ask("POST", "/_faults", {"operation": "reset_password", "kind": "fail", "times": 2, "status": 500})
        statuses = [(await ask(*RESET, key="k1"))[0] for _ in range(3)]
        _, effects = await ask("GET", "/_effects")
    assert statuses == [500, 500, 200]
    assert [effect["asked"] for effect in effects] == [1]


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "error"), [("drop", aiohttp.ClientPayloadError), ("garbage", UnicodeDecodeError)])
async def test_the_work_is_done_although_the_answer_is_lost(tmp_path: Path, kind: str, error: type[Exception]) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        await ask("POST", "/_faults", {"operation": "reset_password", "kind": kind})
        with pytest.raises(error):
            await ask(*RESET, key="k1")
        status, _ = await ask(*RESET, key="k1")
        _, effects = await ask("GET", "/_effects")
    assert status == 200
    assert [effect["asked"] for effect in effects] == [2]


@pytest.mark.asyncio
async def test_it_is_slow_when_asked(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        await ask("POST", "/_faults", {"operation": "*", "kind": "slow", "delay_ms": 60})
        slow, quick = asyncio.create_task(ask(*RESET, key="k1")), asyncio.create_task(ask("GET", "/_effects"))
        done, _ = await asyncio.wait({slow, quick}, return_when=asyncio.FIRST_COMPLETED)
        assert done == {quick}
        assert (await slow)[0] == 200


@pytest.mark.asyncio
async def test_reset_brings_the_first_day_back(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        await ask(*REFUND, key="k1")
        await ask("POST", "/_faults", {"operation": "refund_order", "kind": "fail"})
        await ask("POST", "/_reset")
        _, order = await ask("GET", "/orders/ORD-1042")
        _, effects = await ask("GET", "/_effects")
        _, faults = await ask("GET", "/_faults")
    assert (order["status"], effects, faults) == ("active", [], [])


@pytest.mark.asyncio
async def test_effects_outlive_the_process(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        first = await ask(*REFUND, key="k1")
    async with cloud(tmp_path / "cloud.db") as ask:
        again = await ask(*REFUND, key="k1")
        _, effects = await ask("GET", "/_effects")
    assert first == again
    assert len(effects) == 1


@pytest.mark.asyncio
async def test_it_serves_its_openapi_document_without_the_judges_doors(tmp_path: Path) -> None:
    async with cloud(tmp_path / "cloud.db") as ask:
        status, document = await ask("GET", "/openapi.json")
    operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert status == 200
    assert {"verify_identity", "reset_password", "diagnose_instance", "cancel_order", "refund_order"} <= operations
    assert not [path for path in document["paths"] if path.startswith("/_")]
