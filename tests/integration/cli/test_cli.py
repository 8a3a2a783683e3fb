"""The command line on a local bus file, as a person uses it: other processes' view of a running platform."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import tandem.cli
from tandem.bus.base import NewRecord, Outgoing, outgoing
from tandem.bus.connect import connect
from tandem.channels import write_channels
from tandem.cli.common import age_text, redis_of
from tandem.clock import SystemClock
from tandem.contracts.events import Event, ExpertTask, TicketEvents
from tandem.contracts.message import Envelope, read_body, read_envelope
from tandem.contracts.ticket import Cost
from tandem.contracts.values import conversation_id
from tandem.embedded.platform import alone
from tandem.packs.scaffold import new_pack
from tandem.settings import Settings
from tandem.wiring import Wiring

CONVERSATION = conversation_id("acme", "cli", "me")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TANDEM_PACKS", str(tmp_path / "packs"))
    write_channels(tmp_path / "home" / "channels.yaml", ["cli"], {"acme": "p"})
    on_bus()
    return tmp_path / "home"


def on_bus(*messages, read=()):
    """Publish, then read whole topics."""

    async def work():
        bus = connect(Settings(), SystemClock())
        await bus.start()
        await bus.publish(list(messages))
        found = []
        for topic in read:
            for partition in range(bus.partitions(topic)):
                async for batch in bus.read(topic, partition, 0):
                    found += batch
        await bus.stop()
        return found

    return asyncio.run(work())


def said(topic, message):
    envelope = Envelope(
        id=f"{message.TYPE}-{id(message)}",
        source="tandem/planner",
        type=message.TYPE,
        time=1,
        subject=message.conversation,
        tenant="acme",
    )
    return outgoing(topic, message.conversation, message, envelope)


def events(version, *found, ticket="ticket-1", conversation=CONVERSATION, **more):
    return said(
        "ticket.events",
        TicketEvents(
            tenant="acme",
            conversation=conversation,
            ticket=ticket,
            version=version,
            turn=1,
            at=1_767_225_600_000,
            status="working",
            pack="p",
            spent=Cost(calls=2, tokens=30, micros=1_500),
            events=found,
            **{"owner": "bot", "cause": "tandem.routed-message.v1"} | more,
        ),
    )


def task(id, **more):
    body = {"tenant": "acme", "conversation": CONVERSATION, "ticket": "ticket-1", "kind": "approve", "created_at": 1}
    return said("expert.tasks", ExpertTask(id=id, **(body | more)))


def tandem_(*arguments, code=0):
    """Run a command in a thread of its own, as it makes its own event loop; returns what it raised to exit."""
    before, sys.argv = sys.argv, ["tandem", *arguments]
    try:
        with ThreadPoolExecutor(1) as pool, pytest.raises(SystemExit) as caught:
            pool.submit(tandem.cli.main).result()
    finally:
        sys.argv = before
    assert (caught.value.code or 0) == code


@pytest.fixture
def run(capsys):
    def call(*arguments, code=0):
        tandem_(*arguments, code=code)
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    return call


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        *(
            (name, "--help")
            for name in ("run", "send", "tail", "ticket", "expert", "topics", "dead-letters", "schemas")
        ),
    ],
)
def test_every_command_explains_itself(run, arguments):
    if arguments:
        assert "Usage: tandem" in run(*arguments)
    else:
        assert all(name in run("--help") for name in tandem.cli.COMMANDS)


def test_where_nothing_runs_it_says_what_to_do(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "nowhere"))
    error = run("expert", "queue", code=1)
    assert "tandem up" in error
    assert "Traceback" not in error
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("command", "name", "value", "says"),
    [
        (("topics", "list"), "SHARDS", "many", "tandem: TANDEM_SHARDS: input should be a valid integer"),
        (("run", "executor"), "MCP_SERVERS", "{bad", "tandem: TANDEM_MCP_SERVERS: must be JSON\n"),
        (("up",), "CALL_WINDOW_MS", "soon", "tandem: TANDEM_CALL_WINDOW_MS: input should be a valid integer"),
        (("up",), "LLM_BASE_URL", "nonsense", "tandem: TANDEM_LLM_BASE_URL: string should match pattern"),
        (("up",), "REDIS_URL", "nonsense", "tandem: TANDEM_REDIS_URL: Redis URL must specify one of"),
        (("topics", "apply"), "KAFKA_BOOTSTRAP_SERVERS", "host:port", "tandem: TANDEM_KAFKA_BOOTSTRAP_SERVERS: string"),
    ],
)
def test_a_bad_setting_is_named_in_a_line(run, home, tmp_path, monkeypatch, command, name, value, says):
    new_pack(tmp_path / "packs", "p")
    monkeypatch.setenv(f"TANDEM_{name}", value)
    error = run(*command, code=1)
    assert error.startswith(says)
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [("up", "--home", "/dev/null/x"), ("pack", "new", "x", "--root", "/dev/null")])
def test_a_folder_that_cannot_be_is_one_line(run, monkeypatch, command):
    monkeypatch.delenv("TANDEM_HOME", raising=False)
    error = run(*command, code=1)
    assert error.startswith("tandem: /dev/null")
    assert error.count("\n") == 1


@pytest.mark.parametrize("bus", ["local", "kafka"])
@pytest.mark.parametrize(("named", "own"), [(None, True), ("redis://localhost:6380/0", False)])
def test_the_redis_of_a_platform_in_the_home_is_found(tmp_path, monkeypatch, bus, named, own):
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path))
    monkeypatch.setenv("TANDEM_BUS", bus)
    if named:
        monkeypatch.setenv("TANDEM_REDIS_URL", named)
    (tmp_path / "redis.sock").touch()

    async def url():
        wiring = Wiring(Settings())
        async with redis_of(wiring) as redis:
            found = redis.url
        await wiring.close()
        return found

    assert asyncio.run(url()) == (f"unix://{tmp_path}/redis.sock" if own else named)


def test_a_second_platform_in_a_home_is_refused(run, home, tmp_path):
    new_pack(tmp_path / "packs", "p")
    with alone(home):
        assert "a platform runs in" in run("up", code=1)
    with alone(home):  # given back when the first has ended
        pass


def test_a_port_that_is_taken_says_what_to_do(run, home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = run("up", "--example", "--example-port", str(taken.getsockname()[1]), code=1)
    assert "--example-port 0" in error
    assert error.count("\n") == 1


def test_it_says_its_version_and_gives_examples(run):
    assert run("--version").startswith("tandem ")
    assert "\n    tandem up --example\n" in run("--help")
    assert "\n    tandem pack check packs/my_shop\n" in run("pack", "--help")


def test_topics(run, home):
    listed = json.loads(run("topics", "list", "--json"))
    assert {topic["name"]: topic["partitions"] for topic in listed}["ticket.inbox"] == 8
    assert json.loads(run("topics", "apply", "--json")) == {"created": []}


def test_send_signs_and_waits_for_the_reply(run, home):
    sent = json.loads(run("send", "hello", "--id", "m1", "--json"))
    assert sent == {"conversation": CONVERSATION}
    [record] = on_bus(read=["customer.messages"])
    assert read_envelope(record.headers).source == "channel/cli"
    assert read_body(read_envelope(record.headers).type, record.value).text() == "hello"
    assert "no reply within" in run("send", "hello", "--wait", "0.1", code=1)
    assert "unknown-channel" in run("send", "hello", "--channel", "pigeon", code=1)
    assert "may not speak for" in run("send", "hello", "--tenant", "nobody", code=1)
    assert "is empty" in run("send", " ", code=2)
    assert len(on_bus(read=["customer.messages"])) == 2


def test_a_ticket_and_its_timeline(run, home):
    on_bus(
        events(1, Event(kind="message_received", text="I forgot my password")),
        events(3, Event(kind="step_completed", name="function_agent", rung="large", data={"prompt": "x.values@1-ab"})),
        events(
            2, Event(kind="effect_done", name="reset", sentence=4, procedure="pr", effect="e" * 36, cost=Cost(calls=1))
        ),
        events(
            2, Event(kind="effect_done", name="reset", sentence=4, procedure="pr", effect="e" * 36, cost=Cost(calls=1))
        ),
        events(1, Event(kind="reply_sent"), ticket="other", conversation="another"),
    )
    for id in ("ticket-1", CONVERSATION, CONVERSATION[:6]):
        shown = json.loads(run("ticket", "show", id, "--timeline", "--json"))
        assert (shown["ticket"], shown["owner"], shown["spent"]["tokens"]) == ("ticket-1", "bot", 30)
        assert [event["kind"] for event in shown["timeline"]] == ["message_received", "effect_done", "step_completed"]
    text = run("ticket", "show", "ticket-1", "--timeline")
    assert "pr §4" in text.replace("\n", " ")
    assert "1 call" in text
    assert "x.values@1-ab)" in text
    assert "no ticket" in run("ticket", "show", "nobody", code=1)


def test_the_expert_queue_and_decisions(run, home):
    on_bus(
        task("old", state="open"),
        task("old", state="closed"),
        task("low", urgency="low", kind="handover"),
        task("urgent", urgency="high", effect="e1", arguments_hash="h1", tool="refund", arguments={"n": 1}),
    )
    assert [one["id"] for one in json.loads(run("expert", "queue", "--json"))] == ["urgent", "low"]
    assert json.loads(run("expert", "show", "urg", "--json"))["arguments"] == {"n": 1}
    assert "refund" in run("expert", "show", "urg")
    assert "nothing to decide" in run("expert", "approve", "old", code=1)
    assert "no task begins with 'nobody'" in run("expert", "approve", "nobody", code=1)
    as_ana = ("--as", "ana", "--wait", "0")
    run("expert", "approve", "urgent", *as_ana, "--note", "fine")
    run("expert", "reject", "urgent", *as_ana)
    run("expert", "take", "low", *as_ana, "--reason", "mine")
    run("expert", "reply", "low", "I am here.", *as_ana)
    run("expert", "give-back", "low", *as_ana, "--resolved")
    found = [read_body(read_envelope(r.headers).type, r.value) for r in on_bus(read=["ticket.inbox"])]
    assert [type(one).__name__ for one in found] == ["Approve", "Reject", "TakeOver", "ExpertReply", "GiveBack"]
    approve, *_, give_back = found
    assert (approve.approval, approve.effect, approve.arguments_hash, approve.expert) == ("urgent", "e1", "h1", "ana")
    assert (give_back.resolved, give_back.conversation, give_back.ticket) == (True, CONVERSATION, "ticket-1")
    assert len({one.id for one in found}) == 5


@pytest.fixture
def owner():
    """What the planner's owner would say of an action, as soon as it lies in the mailbox."""

    def answers(*found, owner="expert:ana"):
        async def work():
            bus = connect(Settings(), SystemClock())
            await bus.start()
            while not sum([await bus.end("ticket.inbox", shard) for shard in range(8)]):
                await asyncio.sleep(0.01)
            await bus.publish([events(9, *found, cause="tandem.take-over.v1", owner=owner)])
            await bus.stop()

        thread = threading.Thread(target=asyncio.run, args=(work(),))
        thread.start()
        return thread

    return answers


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        (Event(kind="taken_over", name="ana"), 0, "taken over: ticket ticket-1, as ana"),
        (
            Event(kind="action_refused", name="ana", text="it belongs to expert:bob"),
            1,
            "refused: it belongs to expert:bob",
        ),
    ],
)
def test_an_expert_is_told_what_became_of_an_action(run, home, owner, found, code, says):
    on_bus(task("low", kind="handover"))
    answering = owner(Event(kind="taken_over", name="bob"), found)
    assert says in run("expert", "take", "low", "--as", "ana", "--wait", "20", code=code)
    answering.join()


@pytest.mark.parametrize(
    ("span", "says"), [(-5, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (3_600_000, "1 h"), (172_800_000, "2 d")]
)
def test_how_long_something_waits(span, says):
    assert age_text(span) == says


def test_what_another_expert_has_is_taken_on_purpose_alone(run, home):
    on_bus(task("low", kind="handover"))
    run("expert", "take", "low", "--as", "ana", "--wait", "0")
    run("expert", "take", "low", "--as", "ana", "--wait", "0", "--even-so")
    found = [read_body(read_envelope(r.headers).type, r.value) for r in on_bus(read=["ticket.inbox"])]
    assert [take.even_so for take in found] == [False, True]


def letter(key, reason, origin, body=b"\xff not utf-8"):
    headers = (
        ("ce_id", b"1"),
        ("x", b"\xff"),
        ("tandem-attempt", b"5"),
        ("tandem-dead-reason", reason.encode()),
        ("tandem-dead-origin", origin.encode()),
        ("tandem-dead-detail", b"d"),
        ("tandem-dead-service", b"router"),
    )
    return Outgoing("dead-letters", NewRecord(key, body, headers))


def test_dead_letters_are_shown_and_sent_again_once(run, home):
    on_bus(
        letter("k1", "bad-signature", "customer.messages/1/7"),
        letter("k2", "schema", "tasks.rag_agent.retry/0/3"),
    )
    listed = json.loads(run("dead-letters", "list", "--json"))
    assert [(one["id"], one["reason"], one["origin"]) for one in listed] == [
        ("0-0", "bad-signature", "customer.messages/1/7"),
        ("0-1", "schema", "tasks.rag_agent.retry/0/3"),
    ]
    assert json.loads(run("dead-letters", "show", "0-1"))["record"]["key"] == "k2"
    assert "there is no dead letter" in run("dead-letters", "show", "9-9", code=1)
    dry = json.loads(run("dead-letters", "redrive", "--filter", "schema", "--dry-run", "--json"))
    assert [one["id"] for one in dry["redriven"]] == ["0-1"]
    assert on_bus(read=["tasks.rag_agent"]) == []
    assert "say which" in run("dead-letters", "redrive", code=1)
    assert "say which" in run("dead-letters", "redrive", "--filter", "", code=1)
    assert "no dead letter '0-7'" in run("dead-letters", "redrive", "0-1", "0-7", code=1)
    run("dead-letters", "redrive", "0-1")
    assert [one.key for one in on_bus(read=["tasks.rag_agent"])] == [b"k2"]
    run("dead-letters", "redrive", "--filter", "*", "--rate", "1000")
    assert json.loads(run("dead-letters", "redrive", "--filter", "*", "--json"))["redriven"] == []
    [again] = on_bus(read=["tasks.rag_agent"])
    assert (again.key, again.value, again.headers) == (b"k2", b"\xff not utf-8", (("ce_id", b"1"), ("x", b"\xff")))
    assert len(on_bus(read=["customer.messages"])) == 1
    assert len(json.loads(run("dead-letters", "list", "--json"))) == 2


def test_tail_refuses_an_unknown_topic_and_run_an_unknown_service(run, home):
    assert "no topic is called" in run("tail", "nowhere", code=1)
    assert "no service is called" in run("run", "pigeon", code=1)
    assert "no roles" in run("run", "router", "--role", "owner", code=1)
