from __future__ import annotations

import asyncio
import os
import signal

import aiohttp
import pytest

from tandem.agent import _Answerer, _bind
from tandem.bus.base import outgoing
from tandem.bus.consume import Delivery
from tandem.bus.local import LocalBus
from tandem.contracts.inbox import StepCompleted, StepFailed
from tandem.contracts.message import Envelope, read_body, read_envelope
from tandem.contracts.tasks import Answer, AnswerQuestion, MakePlan
from tandem.contracts.ticket import Cost
from tandem.contracts.values import derive_id
from tandem.errors import InvalidMessage, InvalidSettings, Refused, Unavailable
from tandem.service import Result, Service
from tandem.settings import Settings
from tandem.wiring import Wiring


class FixedClock:
    def __init__(self, now=1_000):
        self.time = now

    def now(self):
        return self.time

    def boot(self):
        return self.time / 1000

    async def sleep(self, seconds):
        await asyncio.sleep(0)


class Worker:
    """A component that says what happened to it."""

    def __init__(self, log, fails=None):
        self.log = log
        self.heartbeat = 0.0
        self.fails = fails
        self._stopped = asyncio.Event()

    async def start(self):
        self.log.append("start")

    async def run(self):
        self.log.append("run")
        if self.fails:
            raise self.fails
        await self._stopped.wait()
        self.log.append("end")

    async def stop(self, grace_s):
        self.log.append(f"stop {grace_s:g}")
        self._stopped.set()


def wiring(clock=None, **more):
    settings = Settings(http_host="127.0.0.1", http_port=more.pop("http_port", None), drain_s=3, **more)
    return Wiring(settings, clock=clock or FixedClock())


@pytest.mark.asyncio
async def test_a_service_starts_serves_and_drains():
    log = []
    service = Service("test", wiring(), [Worker(log)])
    assert await service.ready() == {"service": "starting or draining"}
    await service.start()
    await asyncio.sleep(0)
    assert await service.ready() == {}
    await service.stop(2)
    assert await service.ready() == {"service": "starting or draining"}
    assert log == ["start", "run", "stop 2", "end"]


@pytest.mark.asyncio
async def test_a_component_that_does_not_end_is_cut_off():
    class Stubborn(Worker):
        async def stop(self, grace_s):
            self.log.append("asked")

    log = []
    service = Service("test", wiring(), [Stubborn(log)])
    await service.start()
    await service.stop(0.01)
    assert log == ["start", "run", "asked"]


@pytest.mark.asyncio
async def test_readiness_asks_every_dependency():
    async def up():
        return None

    async def down():
        raise Unavailable("redis is away")

    service = Service("test", wiring(), [Worker([])], {"bus": up, "redis": down})
    await service.start()
    assert await service.ready() == {"redis": "Unavailable: redis is away"}
    await service.stop(1)


@pytest.mark.asyncio
async def test_a_silent_loop_or_an_ended_one_is_not_alive():
    clock = FixedClock(0)
    service = Service("test", wiring(clock, liveness_s=60), [Worker([])])
    await service.start()
    assert service.live() == {"service": 0.0, "Worker": 0.0}
    clock.time = 61_000
    assert service.live() == {}
    await service.stop(1)
    failing = Service("test", wiring(), [Worker([], fails=Unavailable("gone"))])
    await failing.start()
    with pytest.raises(Unavailable):
        await failing.wait()
    assert failing.live() == {}
    await failing.stop(1)


@pytest.mark.asyncio
async def test_probes_answer_over_http():
    service = Service("test", wiring(http_port=0), [Worker([])])
    await service.start()
    url = f"http://127.0.0.1:{service._probes.port}"
    async with aiohttp.ClientSession() as session:
        for path in ("/livez", "/readyz", "/metrics"):
            async with session.get(url + path) as response:
                assert response.status == 200, path
        service._ready = False
        async with session.get(f"{url}/readyz") as response:
            assert response.status == 503
            assert (await response.json())["missing"]
    await service.stop(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_the_process(number):
    log = []

    class Signalled(Worker):
        async def run(self):
            os.kill(os.getpid(), number)
            await super().run()

    async def serve():
        await Service("test", wiring(), [Signalled(log)])._serve()

    asyncio.run(serve())
    assert log == ["start", "run", "stop 3", "end"]


def test_a_failed_component_ends_the_process_with_an_error(capfd):
    class Failing(Worker):
        def __init__(self):
            self.log, self.heartbeat = [], 0.0

        async def run(self):
            raise Unavailable("the bus is gone")

        async def stop(self, grace_s):
            self.log.append("stop")

    with pytest.raises(SystemExit) as caught:
        Service("test", wiring(), [Failing()]).run()
    assert caught.value.code == 1
    assert "the bus is gone" in capfd.readouterr().err


# Agents ----------------------------------------------------------------------------------------------------------

TASK = AnswerQuestion(
    id="task-1",
    tenant="acme",
    conversation="c1",
    ticket="t1",
    channel="webhook",
    thread="room",
    pack="p",
    step="s1",
    attempt=2,
    turn=1,
    deadline=5_000,
    question="why?",
)


def delivery(task):
    envelope = Envelope(id="e", source="tandem/planner", type=task.TYPE, time=0, subject="c1", tenant="acme")
    return Delivery(record=None, envelope=envelope, message=task, attempt=1)


async def answered(handler, task=TASK, clock=None):
    answerer = _Answerer("rag_agent", {AnswerQuestion.TYPE: handler}, clock or FixedClock())
    [out] = await answerer(delivery(task))
    envelope = read_envelope(out.record.headers)
    assert (out.topic, out.record.key) == ("ticket.inbox", "c1")
    assert envelope.id == derive_id("task-1", 2, "completed")
    return read_body(envelope.type, out.record.value)


@pytest.mark.asyncio
async def test_a_value_becomes_a_completed_step():
    async def plain(task):
        return Answer(text=task.question, supported=True)

    async def priced(task):
        return Result(Answer(), Cost(calls=1), "large")

    step = await answered(plain)
    assert isinstance(step, StepCompleted)
    assert (step.output_type, step.output["text"], step.rung, step.cost) == ("Answer", "why?", "rule", Cost())
    assert (step.task, step.step, step.attempt, step.service) == ("task-1", "s1", 2, "rag_agent")
    step = await answered(priced)
    assert (step.rung, step.cost) == ("large", Cost(calls=1))


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (Refused("not-allowed", "no"), "not-allowed", False),
        (InvalidMessage("schema", "x"), "schema", False),
        (InvalidSettings("x"), "invalid", False),
        (Unavailable("x"), "unavailable", True),
    ],
)
@pytest.mark.asyncio
async def test_an_error_becomes_a_failed_step(error, reason, retryable):
    async def handler(task):
        raise error

    step = await answered(handler)
    assert isinstance(step, StepFailed)
    assert (step.reason, step.retryable) == (reason, retryable)


@pytest.mark.asyncio
async def test_a_bug_is_left_to_the_retry_topic():
    async def handler(task):
        raise TimeoutError("the handler's own")

    with pytest.raises(TimeoutError):
        await answered(handler)


@pytest.mark.asyncio
async def test_a_task_past_its_deadline_is_answered_without_work():
    async def handler(task):
        raise AssertionError("worked")

    step = await answered(handler, clock=FixedClock(5_000))
    assert (step.reason, step.retryable) == ("expired", False)


@pytest.mark.asyncio
async def test_work_is_cut_off_at_the_deadline():
    async def handler(task):
        await asyncio.Event().wait()

    step = await answered(handler, clock=FixedClock(4_990))
    assert step.reason == "expired"


@pytest.mark.asyncio
async def test_a_task_without_a_handler_is_invalid():
    other = MakePlan(**TASK.model_dump(exclude={"question", "recent"}), goal="x", route={})
    with pytest.raises(InvalidMessage, match="unknown-task"):
        await _Answerer("rag_agent", {}, FixedClock())(delivery(other))


@pytest.mark.asyncio
async def test_handlers_are_given_what_they_name():
    async def handler(task, llm, vectors):
        return task, llm, vectors

    bound = _bind(handler, {"llm": "L", "vectors": "V", "unused": "U"})
    assert await bound("T") == ("T", "L", "V")
    with pytest.raises(InvalidSettings, match="vectors"):
        _bind(handler, {"llm": "L"})


@pytest.mark.asyncio
async def test_an_agent_answers_over_the_bus():
    async def handler(task, prefix):
        return Answer(text=f"{prefix} {task.question}", supported=True)

    bus = LocalBus(None)
    await bus.start()
    service = Service.agent(
        "rag_agent", {AnswerQuestion: handler}, Wiring(Settings(http_port=None), bus=bus), prefix="because"
    )
    task = TASK.model_copy(update={"deadline": 2**50})
    envelope = Envelope(id="e1", source="tandem/planner", type=task.TYPE, time=0, subject="c1", tenant="acme")
    await service.start()
    await bus.publish([outgoing("tasks.rag_agent", task.id, task, envelope)])
    inbox = await bus.consumer("test", ["ticket.inbox"])
    found = await inbox.poll(10, 10.0)
    await inbox.close()
    await service.stop(1)
    await bus.stop()
    [step] = [read_body(read_envelope(record.headers).type, record.value) for record in found]
    assert step.output["text"] == "because why?"
