"""`python -m examples.cloud_api --port 8800 --db .tandem/cloud.db`"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from examples.cloud_api.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="examples.cloud_api", description="The example business system.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--db", type=Path, default=Path(".tandem/cloud.db"), help="SQLite file; seeded when it is new")
    parser.add_argument("--diagnosis-ms", type=int, default=2_000, help="how long a diagnosis takes")
    parser.add_argument("--customers", type=int, default=0, help="so many more customers than the seed names")
    options = parser.parse_args()
    asyncio.run(serve(options.db, options.host, options.port, options.diagnosis_ms, options.customers))


if __name__ == "__main__":
    main()
