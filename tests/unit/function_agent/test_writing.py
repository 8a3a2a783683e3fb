"""Programs by a model: checked from the text, tried up to the first call, sent back once; and what hostile ones come to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from services.function_agent.extraction import ModelPolicy
from services.function_agent.handlers import run_program, write_program
from services.function_agent.sandbox import Limits, Sandbox
from services.function_agent.static import MAX_CODE, NotAllowed, check
from services.function_agent.writing import MAX_CALLS, PROGRAM
from tandem.contracts.tasks import ProgramCall, ProgramOutput, ProgramWritten, RunProgram, WriteProgram
from tandem.contracts.ticket import Called, Cost, Script
from tandem.errors import Refused, Unavailable
from tandem.packs.registry import Packs
from tandem.rpc.ports import ChatRequest, ChatResponse
from tests.unit.function_agent.test_escapes import ATTEMPTS
from tests.unit.packs.shop import files, operation, write

AT = 1_767_225_600_000
STRING = {"type": "string"}
BASE: dict[str, Any] = {
    "id": "t", "tenant": "acme", "conversation": "c", "ticket": "k", "pack": "shop", "step": "s2", "attempt": 1, "turn": 1,
    "deadline": 10, "at": AT,
}  # fmt: skip
TOOLS = ("list_orders", "get_order")
GOOD = """
def main(inputs):
    total, failed = 0, []
    for one in list_orders(email=inputs["email"])["orders"]:
        try:
            total += get_order(order_id=one)["amount"]
        except RuntimeError as error:
            failed.append(f"{one}: {error}")
    return {"total": total, "failed": failed}
"""


class Scripted:
    """Says the next thing of its script; an error is raised."""

    def __init__(self, *script: str | Exception) -> None:
        self.script = list(script)
        self.asked: list[ChatRequest] = []

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> Any:
        raise Unavailable("no encoder")

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        says = self.script.pop(0)
        if isinstance(says, Exception):
            raise says
        return ChatResponse(text=says, model="m", cost=Cost(calls=1, tokens=10))


def said(code: str) -> str:
    return json.dumps({"code": code, "reason": "as asked"})


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    content = files()
    paths = content["tools/shop.yaml"]["paths"]
    paths["/orders"] = {"post": operation("list_orders", "read", {"email": STRING}, ["email"])}
    paths["/order"] = {
        "post": operation("get_order", "read", {"order_id": STRING, "lines": {"type": "integer"}}, ["order_id"])
    }
    write(tmp_path, content)
    return Packs(tmp_path)


def sandbox() -> Sandbox:
    return Sandbox(Limits(seconds=0.2, wall_s=2.0), at_once=1)


async def written(packs: Packs, *script: str | Exception, tools: tuple[str, ...] = TOOLS) -> tuple[Any, Scripted]:
    task = WriteProgram(**BASE, tools=tools, goal="add up </goal> what was paid", inputs={"email": "a@b.c"})
    llm = Scripted(*script)
    return await write_program(task, packs, llm, ModelPolicy(write_s=10.0), sandbox()), llm


def run_task(code: str, *calls: Called, tools: tuple[str, ...] = TOOLS) -> RunProgram:
    script = Script(tools=tools, code=code)
    return RunProgram(**BASE, program="program", inputs={"inputs": {"email": "a@b.c"}}, calls=calls, script=script)


async def run(packs: Packs, code: str, *calls: Called) -> Any:
    return (await run_program(run_task(code, *calls), packs, sandbox())).value


@pytest.mark.asyncio
async def test_a_model_writes_a_program_and_it_runs_call_by_call(packs: Packs) -> None:
    result, llm = await written(packs, said(GOOD))
    assert result.value == ProgramWritten(code=GOOD, reason="as asked")
    assert (result.rung, result.cost, result.prompt) == ("large", Cost(calls=1, tokens=10), PROGRAM.ref)
    (_, text), = llm.asked[0].messages  # type: ignore[misc] # fmt: skip
    assert text.count("</goal>") == 1
    assert "get_order (only reads)" in llm.asked[0].system
    listed = Called(tool="list_orders", arguments={"email": "a@b.c"}, output={"orders": ["o1", "o2"]})
    first = Called(tool="get_order", arguments={"order_id": "o1"}, output={"amount": 7})
    lost = Called(tool="get_order", arguments={"order_id": "o2"}, error="gone")
    assert await run(packs, GOOD) == ProgramCall(ordinal=0, tool="list_orders", arguments={"email": "a@b.c"})
    assert await run(packs, GOOD, listed) == ProgramCall(ordinal=1, tool="get_order", arguments={"order_id": "o1"})
    assert await run(packs, GOOD, listed, first, lost) == ProgramOutput(output={"total": 7, "failed": ["o2: gone"]})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("no json", "JSON"),
        (said(GOOD.replace("email=inputs", "mail=inputs")), "list_orders has no parameter mail"),
        (said(GOOD.replace('inputs["email"]', 'inputs["mail"]')), "KeyError"),
        (said(GOOD.replace('inputs["email"]', "5")), "do not fit the schema"),
        (said("def main(inputs):\n    if inputs.get('x'): list_orders(email='a')\n    return {}"), "calls no tool"),
        (said("def main(inputs):\n    while True:\n        inputs\n    list_orders(email='a')"), "code: "),
    ],
    ids=["no json", "parameter", "raises", "value", "no call", "for ever"],
)
async def test_a_mistake_is_sent_back_once_with_the_error(packs: Packs, wrong: str, told: str) -> None:
    result, llm = await written(packs, wrong, said(GOOD))
    assert (result.value.code, result.cost) == (GOOD, Cost(calls=2, tokens=20))
    assert told in str(llm.asked[1].messages[-1])
    result, llm = await written(packs, wrong, wrong, said(GOOD))
    assert (result.value.code, result.rung, len(llm.asked)) == ("", "rule", 2)
    assert result.cost == Cost(calls=2, tokens=20)
    assert result.value.reason.startswith("no program by a model")


@pytest.mark.asyncio
async def test_without_a_model_there_is_no_program(packs: Packs) -> None:
    result, _ = await written(packs, Unavailable("away"))
    assert (result.value.code, result.cost) == ("", Cost())
    never = WriteProgram(**BASE, tools=TOOLS, goal="x")
    result = await write_program(never, packs, Scripted(), ModelPolicy(write_s=0), sandbox())
    assert result.value.code == ""
    for tools in (("get_order", "drop_tables"), ()):
        with pytest.raises(Refused, match="has no"):
            await written(packs, said(GOOD), tools=tools)


MAIN = "def main(inputs):\n    got = get_order(order_id='a')\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def main(inputs) return 1", "not Python"),
        ("((" * 1_500, "not Python"),
        (MAIN + "    x = 1\n" * 500, "longer than"),
        (MAIN + "    a=1\n" * 460, "too large"),
        ("import os\n" + MAIN, "top level"),
        ("x = 1\n" + MAIN, "top level"),
        ("def other(inputs): get_order(order_id='a')", "def main"),
        ("def main(): get_order(order_id='a')", "def main"),
        ("def main(inputs, more): get_order(order_id='a')", "def main"),
        ("def main(inputs=get_order): get_order(order_id='a')", "def main"),
        ("def main(*inputs): get_order(order_id='a')", "def main"),
        (MAIN + MAIN, "def main"),
        ("@get_order\n" + MAIN, "decorators"),
        (MAIN + "    import os\n", "Import"),
        (MAIN + "    class A: pass\n", "ClassDef"),
        (MAIN + "    yield got\n", "Yield"),
        (MAIN + "    return got.__class__\n", "underscore"),
        (MAIN + "    return __builtins__\n", "underscore"),
        (MAIN + "    return '{0.a}'.format(got)\n", "f-strings"),
        (MAIN + "    return [get_order]\n", "can only be called"),
        (MAIN + "    get_order = len\n", "is taken"),
        (MAIN + "    for len in got: pass\n", "is taken"),
        (MAIN + "    def get_order(): pass\n", "may not be called"),
        (MAIN + "    f = lambda get_order: 1\n", "may not be called"),
        (MAIN + "    try: pass\n    except RuntimeError as get_order: pass\n", "may not be called"),
        (MAIN + "    return open('/etc/passwd')\n", "no function open"),
        (MAIN + "    return eval('1')\n", "no function eval"),
        (MAIN + "    return (lambda: 1)()\n", "by their names"),
        (MAIN + "    return got['f']()\n", "by their names"),
        (MAIN + "    get_order('a')\n", "by name"),
        (MAIN + "    get_order(**got)\n", "by name"),
        (MAIN + "    get_order(order_id='a', colour='red')\n", "no parameter colour"),
        (MAIN + "    get_order(lines=1)\n", "needs order_id"),
        (MAIN + "    reset_password(email='a')\n", "no function reset_password"),
        ("def main(inputs): return {}", "none of the tools"),
    ],
)
def test_what_may_not_be_in_it(packs: Packs, code: str, why: str) -> None:
    tools = packs.get("shop").tools
    with pytest.raises(NotAllowed, match=why):
        check(code, {name: tools[name] for name in TOOLS})
    assert len(MAIN) < MAX_CODE


@pytest.mark.asyncio
async def test_what_the_ticket_holds_is_checked_again_before_it_runs(packs: Packs) -> None:
    with pytest.raises(Refused, match="top level") as refused:
        await run_program(run_task("import os\n" + MAIN), packs, sandbox())
    assert refused.value.reason == "program-invalid"
    with pytest.raises(Refused, match="has no drop_tables"):
        await run_program(run_task(MAIN, tools=("drop_tables",)), packs, sandbox())


@pytest.mark.asyncio
async def test_it_may_make_so_many_calls_and_no_more(packs: Packs) -> None:
    code = "def main(inputs):\n    for n in range(99):\n        get_order(order_id=str(n))\n    return {}"
    made = [Called(tool="get_order", arguments={"order_id": str(n)}, output={}) for n in range(MAX_CALLS)]
    assert isinstance(await run(packs, code, *made[:-1]), ProgramCall)
    with pytest.raises(Refused, match=f"may make {MAX_CALLS} calls"):
        await run(packs, code, *made)


HOSTILE = [
    code.replace("def main():", "def main(inputs):").replace("look(", "get_order(") for code in ATTEMPTS.values()
]


def test_every_attempt_to_escape_is_refused_from_its_text_or_left_to_the_sandbox(packs: Packs) -> None:
    """What the text does not show, the sandbox holds: `test_escapes` plays them all there."""
    tools = {name: packs.get("shop").tools[name] for name in TOOLS}
    passed = 0
    for code in HOSTILE:
        try:
            check(code, tools)
        except NotAllowed:
            continue
        passed += 1
    assert passed == 0


@pytest.mark.asyncio
async def test_an_attempt_that_a_model_writes_never_comes_to_its_end(packs: Packs) -> None:
    """With a tool's call in front, so that nothing is refused for making none; the sandbox's own share, to the end."""
    tools = {name: packs.get("shop").tools[name] for name in TOOLS}
    call = Called(tool="get_order", arguments={"order_id": "a"}, output={})
    reached = 0
    for code in HOSTILE:
        led = code.replace("def main(inputs):\n", MAIN, 1)
        try:
            check(led, tools)
        except NotAllowed:
            continue
        reached += 1
        with pytest.raises(Refused) as refused:
            await run_program(run_task(led, call, call, call, call), packs, sandbox())
        assert refused.value.reason.startswith("program-")
    assert reached > 50
