from __future__ import annotations

from pathlib import Path

from tandem.rpc.generate import generate

ROOT = Path(__file__).parents[2]


def test_the_committed_stubs_are_what_the_protos_generate(tmp_path):
    written = generate(tmp_path, ROOT / "proto")
    assert written
    stale = [
        str(path.relative_to(tmp_path))
        for path in written
        if path.read_bytes() != (ROOT / path.relative_to(tmp_path)).read_bytes()
    ]
    assert stale == [], "run `python -m tandem.rpc.generate`"
