"""The adapter of docs/adapters.md is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tandem.client.conformance import CHECKS, NotConforming, check

GUIDE = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))


def harness(code: str) -> Any:
    found: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code, "docs/adapters.md", "exec"), found)
    return found["Harness"]


@pytest.mark.asyncio
async def test_the_guides_adapter_conforms() -> None:
    assert "nine things" in GUIDE
    assert len(CHECKS) == 9
    await check(harness(CODE), channel="lines")


@pytest.mark.asyncio
async def test_without_what_the_guide_says_of_failures_it_does_not() -> None:
    with pytest.raises(NotConforming, match="what failed is shown again"):
        await check(harness(CODE.replace("except OSError", "except LookupError")), channel="lines", patience_s=0.5)
