"""The business system of the simulation: it remembers every call that was sent to it and every effect it had."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any, NamedTuple

from tandem.chaos.simulation.network import Network

_world: ContextVar[World] = ContextVar("world")

TIMEOUT_MS = 2_000


class Call(NamedTuple):
    """A request as it left the platform. `at` orders it among everything that happened; `time` is the virtual clock's."""

    at: int
    time: float
    operation: str
    account: str
    effect: str


class Effect(NamedTuple):
    """What a write changed in the world."""

    at: int
    operation: str
    account: str
    effect: str


class World:
    """Its memory of idempotency keys is perfect for those operations that take one."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.calls: list[Call] = []
        self.effects: list[Effect] = []

    def enter(self) -> None:
        """From now on tools called in this context reach this world."""
        _world.set(self)

    def happened(self, effect: str) -> bool:
        return any(one.effect == effect for one in self.effects)

    async def ask(self, operation: str, account: str, effect: str, takes_key: bool) -> dict[str, Any]:
        """One request over a network that loses requests and answers. A write that has landed is done once per key."""
        now = asyncio.get_running_loop().time()
        self.calls.append(Call(self._network.broker.moment(), now, operation, account, effect))

        async def work() -> dict[str, Any]:
            if operation != "check" and not (takes_key and self.happened(effect)):
                self.effects.append(Effect(self._network.broker.moment(), operation, account, effect))
                self._network.broker.note(f"{operation} {account} {effect}")
            return {"ok": True, "state": "active"}

        return await self._network.ask(work, ConnectionError)


async def check(account: str) -> dict[str, Any]:
    """A read."""
    return await _world.get().ask("check", account, "", False)


async def reset(account: str, effect: str) -> dict[str, Any]:
    """Idempotent: the world knows our key."""
    return await _world.get().ask("reset", account, effect, True)


async def note(account: str, effect: str) -> dict[str, Any]:
    """Idempotent: the world knows our key."""
    return await _world.get().ask("note", account, effect, True)


async def charge(account: str, effect: str) -> dict[str, Any]:
    """Unsafe: every request that lands is an effect."""
    return await _world.get().ask("charge", account, effect, False)


PATIENT = "900000"
"""Milliseconds that questions and approvals wait."""

PACK = {
    "pack.yaml": """\
name: simulated
classifier: rule
languages: [en]
timers: {burst: 300, step: 2000, question: 900000, expert: 60000, approval: 900000, follow_up: 0, reopen: 20000}
budget: {calls: 20, tokens: 1000, micros: 100000}
reserve: {calls: 1}
thresholds: {out_of_scope: 1.01}
slots:
  account: {pattern: '\\bA\\d+\\b', ask: 'Which account?'}
texts:
  taken_over: {en: 'A person has taken over.'}
  given_back: {en: 'I go on.'}
""",
    "intents.yaml": """\
- {name: reset, description: Reset an account, scenario: operate, procedure: reset, label: reset, patterns: ['\\breset\\b'],
   examples: {en: [please reset it]}}
- {name: pay, description: Charge an account, scenario: operate, procedure: pay, label: payment, patterns: ['\\bpay\\b'],
   examples: {en: [I want to pay]}}
- {name: look, description: Look at an account, scenario: operate, procedure: look, label: look, patterns: ['\\blook\\b'],
   examples: {en: [please look at it]}}
- {name: tidy, description: Tidy an account, scenario: operate, procedure: tidy, label: tidying, patterns: ['\\btidy\\b'],
   examples: {en: [please tidy it]}}
- {name: ask, description: A question, scenario: consult, label: question, patterns: ['\\bsnapshots\\b'],
   examples: {en: [how long are snapshots kept]}}
""",
    "knowledge/snapshots.md": "# Snapshots\n\n## How long snapshots are kept\n\nSnapshots are kept for thirty days.\n",
    "procedures/reset.md": """\
---
intent: reset
---
1. Take the account.
2. Check it.
3. Ask consent and reset it.
4. Say so.
""",
    "procedures/reset.flow.yaml": """\
start: take
nodes:
  take: {sentence: 1, slots: [account], next: check}
  check: {sentence: 2, tool: check, args: {account: $account}, save: {state: result.state}, next: agree, on_failure: hand}
  agree: {sentence: 3, consent: do, text: 'Reset {account}?', next: do, on_failure: kept}
  do: {sentence: 3, tool: reset, args: {account: $account}, save: {done: result.ok}, next: told, on_failure: hand}
  told: {sentence: 4, text: 'Reset of {account} is done.'}
  kept: {sentence: 4, text: '{account} was left alone.'}
  hand: {sentence: 4, handover: true, reason: not_done, text: 'A colleague goes on.'}
""",
    "procedures/pay.md": "---\nintent: pay\n---\n1. Take the account.\n2. Ask an expert, then charge it.\n3. Say so.\n",
    "procedures/pay.flow.yaml": """\
start: take
nodes:
  take: {sentence: 1, slots: [account], next: ask}
  ask: {sentence: 2, approve: do, text: 'Charge {account}?', next: do, on_failure: kept}
  do: {sentence: 2, tool: charge, args: {account: $account}, save: {paid: result.ok}, next: told, on_failure: hand}
  told: {sentence: 3, text: 'Charge of {account} is done.'}
  kept: {sentence: 3, text: '{account} was left alone.'}
  hand: {sentence: 3, handover: true, reason: not_done, text: 'A colleague goes on.'}
""",
    "procedures/look.md": "---\nintent: look\n---\n1. Take the account.\n2. Look at two things.\n3. Note it.\n4. Say so.\n",
    "procedures/look.flow.yaml": """\
start: take
nodes:
  take: {sentence: 1, slots: [account], next: {all: [left, right]}}
  left: {sentence: 2, tool: check, args: {account: $account}, save: {left: result.state}, next: noted, on_failure: hand}
  right: {sentence: 2, tool: look, save: {right: result.state}, next: noted, on_failure: hand}
  noted: {sentence: 3, tool: note, args: {account: $account}, needs: [left, right], next: told, on_failure: hand}
  told: {sentence: 4, text: 'Look at {account} is done.'}
  hand: {sentence: 4, handover: true, reason: not_done, text: 'A colleague goes on.'}
""",
    "procedures/tidy.md": "---\nintent: tidy\n---\n1. Take the account.\n2. Tidy it, with the program `tidy`.\n3. Say so.\n",
    "procedures/tidy.flow.yaml": """\
start: take
nodes:
  take: {sentence: 1, slots: [account], next: do}
  do: {sentence: 2, program: tidy, args: {account: $account}, save: {noted: result.noted}, next: told, on_failure: hand}
  told: {sentence: 3, text: 'Tidying of {account} is done.'}
  hand: {sentence: 3, handover: true, reason: not_done, text: 'A colleague goes on.'}
""",
    "programs/tidy.yaml": """\
tools: [check, look, note]
inputs: {type: object, required: [account], properties: {account: {type: string}}}
max_calls: 6
""",
    "programs/tidy.py": """\
def main(account):
    seen = [check(account=account)["state"]]
    noted = note(account=account)["ok"]
    try:
        seen.append(look(account=account)["state"])
    except RuntimeError as error:
        seen.append(str(error))
    return {"noted": note(account=account)["ok"] and noted, "seen": seen}
""",
    "tools/world.yaml": """\
python: tandem.chaos.simulation.world
x-tandem: {timeout_ms: 2000}
tools:
  check:
    description: Look at an account
    class: read
    parameters: {type: object, required: [account], properties: {account: {type: string}}}
    output: {type: object}
  look: {description: Look again, class: read, path: check, parameters: {type: object, required: [account],
    properties: {account: {type: string}}}, output: {type: object}}
  reset: {description: Reset an account, class: idempotent, parameters: {type: object, required: [account],
    properties: {account: {type: string}}}, output: {type: object}}
  note: {description: Note that somebody looked, class: idempotent, parameters: {type: object, required: [account],
    properties: {account: {type: string}}}, output: {type: object}}
  charge: {description: Charge an account, class: unsafe, parameters: {type: object, required: [account],
    properties: {account: {type: string}}}, output: {type: object}}
""",
    "policies.yaml": """\
identity: none
authorisation: none
consent: customer_confirms
no_consent: [note, charge]
approvals: [{tool: charge}]
""",
}
"""A pack with every class of tool that may be called: a read, two that take our key, and one that does not."""
