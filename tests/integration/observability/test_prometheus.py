"""The rules, alerts and dashboards on a real Prometheus, fed by the example conversations."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner

from tandem import telemetry
from tandem.cli import build
from tandem.cli.demo import PACK, Demo
from tandem.settings import Settings
from tests.integration.platform.processes import ROOT
from tests.prometheus.server import Prometheus, program
from tests.structure.test_observability import PANELS, RECORDED

FOLDER = ROOT / "deploy/observability"
RULES = [FOLDER / "rules.yaml", FOLDER / "alerts.yaml"]

SILENT_IN_THE_DEMO = (
    "tandem_fenced_total",  # one process, so nobody takes a shard from it
    'cause="index"',  # nor does Redis lose anything
    "tandem_retries_total",
    "tandem_dead_letters_total",
    "tandem_model_",  # no model is set
    "tandem:model_",
    "tandem_suggestions_total",
    "tandem:suggestions_",
    "tandem_closed_total",  # a ticket is closed 72 hours after its answer
    "tandem:independent_",
    "tandem:lag:",  # told every 15 seconds, which is longer than the demo takes
)

pytestmark = pytest.mark.prometheus


@pytest.fixture(autouse=True)
def _business_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_API_URL", "put there by the demo")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", *map(str, RULES)),
        ("check", "config", str(FOLDER / "prometheus.yaml")),
        ("test", "rules", str(FOLDER / "alerts_test.yaml")),
    ],
    ids=["rules can be read", "the configuration can be read", "each alert fires and keeps silent"],
)
def test_promtool(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [str(program("promtool")), *arguments], capture_output=True, text=True, timeout=180, env={**os.environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=telemetry.metrics_text(), content_type="text/plain")


@pytest.mark.asyncio
async def test_every_query_is_answered_while_the_example_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = web.Application()
    app.router.add_get("/metrics", _metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server = await asyncio.to_thread(Prometheus, tmp_path, f"{host}:{port}", [_hurried(tmp_path), RULES[1]])
    try:
        settings = Settings(home=tmp_path / "home", packs=ROOT / "packs")
        assert await Demo(settings, PACK, "", 12, example=True, as_json=True).run()
        await _scraped(server, 'sum(tandem_tickets_total{outcome="done"})')
        found = {name: len(await asyncio.to_thread(server.query, _plain(q))) for name, q in PANELS.items()}
        rules = await asyncio.to_thread(server.rules)
        drawn = await asyncio.to_thread(_pictures, server.url, tmp_path / "pictures")
    finally:
        await asyncio.to_thread(server.stop)
        await runner.cleanup()
    assert {name: svg.count("<polyline") >= 5 for name, svg in drawn.items() if name != "tandem-models"} == {
        "tandem-operations": True,
        "tandem-tickets": True,
        "tandem-tenant": True,
    }
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"] == []
    assert {rule["name"] for rule in rules} >= set(RECORDED)
    empty = [name for name, series in found.items() if not series and not _silent(PANELS[name])]
    assert empty == []


def _pictures(url: str, folder: Path) -> dict[str, str]:
    drawn = CliRunner().invoke(
        build("dashboards"), ["dashboards", "--pictures", str(folder), "--prometheus", url, "--minutes", "0.3"]
    )
    assert drawn.exit_code == 0, drawn.output
    if kept := os.environ.get("TANDEM_KEEP_PICTURES"):
        shutil.copytree(folder, kept, dirs_exist_ok=True)
    return {path.stem: path.read_text() for path in folder.glob("*.svg")}


def _hurried(folder: Path) -> Path:
    """The recording rules without their pace: a demo is over before the first would be evaluated."""
    rules = yaml.safe_load(RULES[0].read_text())
    for group in rules["groups"]:
        del group["interval"]
    path = folder / "rules.json"
    path.write_text(json.dumps(rules))
    return path


def _plain(query: str) -> str:
    """As Grafana sends it, with every tenant chosen."""
    return query.replace("$pack", ".*")


def _silent(query: str) -> bool:
    return any(name in query for name in SILENT_IN_THE_DEMO)


async def _scraped(server: Prometheus, query: str) -> None:
    """Wait until the last of the demo has been seen twice, so that rates have something to go by."""
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(server.query, query):
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)
