"""Runs in the environment that has vLLM, which need not have Tandem: nothing but the standard library and vLLM here.

`check ARGUMENTS…` prints one JSON line, {"vllm": version, "error": ""}; `serve ARGUMENTS…` checks and is `vllm serve`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import json
import sys
from typing import Any

NOT_INSTALLED = 3
REFUSED = 2
MISSING = (
    "vLLM is not installed for {}: pip install 'tandem[vllm]', "
    "or say with --python (TANDEM_VLLM_PYTHON) which Python has it\n"
)


def refusal(arguments: list[str]) -> str:
    """Why vLLM's own argument types do not take the arguments; empty if they do."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser: Any = FlexibleArgumentParser()
    command: Any = ServeSubcommand()
    command.subparser_init(parser.add_subparsers(dest="subparser"))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = parser.parse_args(["serve", *arguments])
        command.validate(parsed)
        parsed.model = parsed.model_tag
        AsyncEngineArgs.from_cli_args(parsed)
    except SystemExit:  # argparse's way to refuse
        return said.getvalue().rpartition("error: ")[2].strip()
    except Exception as error:  # noqa: BLE001 whatever vLLM's types raise is their refusal
        return f"{type(error).__name__}: {error}"
    return ""


def main(what: str, *arguments: str) -> int:
    if importlib.util.find_spec("vllm") is None:
        sys.stderr.write(MISSING.format(sys.executable))
        return NOT_INSTALLED
    why = refusal(list(arguments))
    if what == "check":
        print(json.dumps({"vllm": importlib.metadata.version("vllm"), "error": why}))  # noqa: T201
        return 0
    if why:
        sys.stderr.write(f"vLLM refuses the pool's arguments: {why}\n")
        return REFUSED
    from vllm.entrypoints.cli.main import main as vllm_main

    sys.argv = ["vllm", "serve", *arguments]
    vllm_main()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
