"""Generate the gRPC stubs: `python -m tandem.rpc.generate [OUT]`, from the repository's root. Needs the dev group."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

PROTO = Path("proto")


def generate(out: Path, proto: Path = PROTO) -> list[Path]:
    """Write the stubs of every .proto file under `out`; the path mirrors the import path. Returns what it wrote."""
    from grpc_tools import protoc

    sources = sorted(proto.rglob("*.proto"))
    well_known = str(resources.files("grpc_tools") / "_proto")
    options = [f"--{kind}={out}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    status = protoc.main(["protoc", f"-I{proto}", f"-I{well_known}", *options, *map(str, sources)])
    if status:
        raise SystemExit(status)
    stems = [source.relative_to(proto).with_suffix("") for source in sources]
    return [out / stem.with_name(stem.name + end) for stem in stems for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")]


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
