"""Where crash tests stop: the points that are listed are in the code, and only the armed one kills."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tandem.errors import InvalidSettings
from tandem.kill_points import POINTS, armed
from tandem.settings import Settings
from tandem.wiring import Wiring

ROOT = Path(__file__).parents[2]
LISTED = [(service, point) for service, points in POINTS.items() for point in points]


def _named() -> set[str]:
    """Points that services call; those of a consume loop are called with its name."""
    found: set[str] = set()
    for path in (*(ROOT / "services").rglob("*.py"), *(ROOT / "tandem").rglob("*.py")):
        found |= set(re.findall(r'kill\(f?"([^"]+\d[^"]*|executor.job)"', path.read_text(encoding="utf-8")))
    return found


def test_every_point_that_is_called_is_listed_and_the_other_way_round() -> None:
    listed = {re.sub(r"^\w+\.loop", "{self._name}.loop", point) for _, point in LISTED}
    assert _named() == listed


@pytest.mark.parametrize(("wanted", "passes"), [("executor.3", 0), ("executor.3:1", 0), ("executor.3:5", 4)])
def test_the_armed_point_kills_at_its_turn(wanted: str, passes: int) -> None:
    died: list[str] = []
    kill = armed(wanted, lambda: died.append(wanted))
    for _ in range(passes):
        kill("executor.2")
        kill("executor.3")
    assert died == []
    kill("executor.3")
    assert died == [wanted]


@pytest.mark.parametrize("wanted", ["executor.99", "executor.3:x", "executor.3:-1", ":"])
def test_a_point_that_is_none_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidSettings, match=r"TANDEM_KILL_POINT.*executor\.3"):
        armed(wanted)


def test_nothing_is_armed_unless_the_setting_says_so() -> None:
    wiring = Wiring(Settings())
    for _, point in LISTED:
        wiring.kill(point)
