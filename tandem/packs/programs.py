"""Programs as people write them: the code in `programs/NAME.py`, what it may do in `programs/NAME.yaml`."""

from __future__ import annotations

import ast
from pathlib import Path

from tandem.packs.files import read_mapping, read_text
from tandem.packs.model import Pack, Program
from tandem.packs.problems import Problems, at, unknown

ENTRY = "main"


def read_programs(folder: Path, problems: Problems) -> dict[str, Program]:
    """Every program of a pack that could be read; nothing of it is run."""
    programs = folder / "programs"
    found: dict[str, Program] = {}
    for path in sorted(programs.glob("*.py")):
        place = f"programs/{path.stem}.yaml"
        declared = path.with_suffix(".yaml")
        if not declared.is_file():
            problems.error(f"programs/{path.name}", f"says not what it may call; write {place} with `tools`")
            continue
        data, code = read_mapping(folder, declared, problems), read_text(folder, path, problems)
        if data is None or code is None:
            continue
        program = problems.read(Program, {**data, "name": path.stem, "code": code}, place)
        if program is not None:
            found[program.name] = program
    for path in sorted(programs.glob("*.yaml")):
        if not path.with_suffix(".py").is_file():
            problems.error(f"programs/{path.name}", f"has no code; write programs/{path.stem}.py")
    return found


def check_program(pack: Pack, program: Program, problems: Problems) -> None:
    """Its tools exist, and `main` takes what the inputs declare."""
    for name in program.tools:
        if name not in pack.tools:
            problems.error(at(f"programs/{program.name}.yaml", "tools"), unknown(name, pack.tools, "tool"))
    place = f"programs/{program.name}.py"
    try:
        tree = ast.parse(program.code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        problems.error(at(place, f"line {line}") if line else place, f"is not Python: {error}")
        return
    mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == ENTRY]
    if not mains:
        problems.error(place, f"has no `def {ENTRY}(...)`; that is where it begins")
        return
    taken = mains[-1].args
    names = {argument.arg for argument in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)}
    if taken.posonlyargs or taken.vararg or taken.kwarg or names != set(program.parameters):
        declared = ", ".join(sorted(program.parameters)) or "nothing"
        problems.error(at(place, ENTRY), f"must take exactly what `inputs` declares, by name: {declared}")
