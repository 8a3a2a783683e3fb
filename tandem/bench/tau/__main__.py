"""`python -m tandem.bench.tau serve|packs`: a business's system to talk to, and the packs made from the delivered data."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tandem.bench.tau.convert import convert, pack_name
from tandem.bench.tau.data import DOMAINS, read_domain
from tandem.bench.tau.office import Office
from tandem.bench.tau.server import serving
from tandem.errors import TandemError


def main() -> int:
    parser = argparse.ArgumentParser(prog="tandem.bench.tau", description=__doc__)
    parser.add_argument("what", choices=("serve", "packs"))
    parser.add_argument("--data", type=Path, required=True, help="the folder tau3")
    parser.add_argument("--domain", choices=DOMAINS, default="retail")
    parser.add_argument("--port", type=int, default=8801, help="serve: the port on the loopback")
    parser.add_argument("--out", type=Path, default=Path("packs"), help="packs: the folder to write the pack into")
    parser.add_argument("--planned", action="store_true", help="packs: for a model that plans, without procedures")
    options = parser.parse_args()
    try:
        domain = read_domain(options.data, options.domain)
        if options.what == "serve":
            asyncio.run(_serve(Office(domain), options.port))
        else:
            folder = options.out / pack_name(options.domain)
            convert(domain, folder, options.planned)
            sys.stderr.write(f"{folder} is written; its tools are at $TAU_TOOLS_URL\n")
    except TandemError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; what was changed is forgotten\n")
    return 0


async def _serve(office: Office, port: int) -> None:
    """One database for whoever comes, until interrupted."""

    async def office_of(request: str) -> Office:
        return office

    async with serving(office_of, port) as url:
        sys.stderr.write(f"TAU_TOOLS_URL={url}\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
