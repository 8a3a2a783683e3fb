"""Sentence by sentence, the actions become steps, and what each call needs is found among what is known by then."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tandem.packs.compiling import text as words_of
from tandem.packs.compiling.answers import Answer, Known, output_of
from tandem.packs.compiling.conditions import bindings, expression
from tandem.packs.compiling.language import Action, Branch, Condition, Language
from tandem.packs.compiling.steps import Step, Way
from tandem.packs.compiling.text import Mistake
from tandem.packs.conditions import substituted
from tandem.packs.model import Pack, Tool
from tandem.packs.problems import unknown

Steps = list[Step]


@dataclass
class Placed:
    """All steps of a procedure; `rescue` is where whatever else fails leads."""

    steps: Steps = field(default_factory=list)
    rescue: Way | None = None


class Placer:
    """Reads a procedure's sentences in order."""

    def __init__(self, pack: Pack) -> None:
        self.placed = Placed()
        self._pack = pack
        self._language = Language.of(pack)
        self._known = Known(pack)
        self._ids: set[str] = set()
        self._open: list[tuple[Step, str]] = []  # consents and approvals whose call is still to come
        self._call: Step | None = None
        self._asked: tuple[str, ...] = ()

    def sentence(self, number: int, text: str) -> None:
        """Raises Mistake."""
        for part in self._language.parts(number, text):
            if isinstance(part, Branch):
                self._branch(part)
            else:
                self._action(part, self.placed.steps)

    def done(self) -> Placed:
        """Raises Mistake if a consent or an approval has no call."""
        for step, what in self._open:
            raise Mistake(step.sentence, f'"{step.words}": no call of a tool that writes follows, to {what} to')
        for step in self.placed.steps:
            self._asks_again(step)
        return self.placed

    def _asks_again(self, step: Step) -> None:
        """ "If it fails three times" says that twice it is asked again."""
        told = [condition for way in step.branches for condition in way.conditions]
        bounded = any(one.times for one in told) and not any(one.otherwise or one.refused for one in told)
        if step.verb != "call" or step.granted is None or not bounded:
            return
        slots = [str(value)[1:] for value in step.fields.get("args", {}).values() if str(value)[1:] in self._pack.slots]
        if slots:
            again = Action(verb="ask", sentence=step.sentence, words=step.words, slots=tuple(slots), again=True)
            self._call = step
            step.branches.append(Way((Condition(otherwise=True),), [self._ask(again, [])]))

    def _branch(self, branch: Branch) -> None:
        steps = self.placed.steps
        if not steps:
            raise Mistake(branch.sentence, f'"{branch.words}": nothing was done before that could decide')
        conditions = tuple(self._resolved(one, branch.sentence) for one in branch.conditions)
        before, own = self._known.copy(), Steps()
        way = Way(conditions, own)
        for action in branch.actions:
            self._action(action, own, way)
        self._known = before
        if branch.whatever:
            self.placed.rescue = way
        else:
            self._fits(branch, steps[-1])
            steps[-1].branches.append(way)

    def _resolved(self, condition: Condition, sentence: int) -> Condition:
        if condition.formal is None:
            return condition
        found = expression(condition.formal, self._known.path, sentence)
        return replace(condition, formal=f"not ({found})" if condition.negated else found)

    def _fits(self, branch: Branch, step: Step) -> None:
        deciding = ("call", "program", "choose", "consent", "approve", "confirm")
        for condition in branch.conditions:
            if (condition.fails or condition.times) and step.verb not in deciding:
                raise Mistake(branch.sentence, f'"{branch.words}": "{step.words}" before it cannot fail')
            if condition.refused and step.granted is None and step.verb not in ("confirm", "consent", "approve"):
                raise Mistake(
                    branch.sentence,
                    f'"{branch.words}": what is not? Only verifying, authorising and asking whether answer to "if not"',
                )

    def _action(self, action: Action, steps: Steps, way: Way | None = None) -> None:
        if action.verb in ("stop", "go_on", "retry"):
            self._leads(action, steps, way)
            return
        make: dict[str, Callable[[Action, Steps], Step]] = {
            "ask": self._ask,
            "choose": self._choose,
            "confirm": self._confirm,
            "call": self._tool,
            "program": self._program,
            "consent": self._consent,
            "approve": self._approve,
            "say": lambda action, _: self._step("say", action, f"tell_{action.sentence}", {}),
            "knowledge": lambda action, _: self._step("knowledge", action, "knowledge", {"agent": "rag_agent"}),
            "hand_over": self._hand_over,
        }
        step = make[action.verb](action, steps)
        steps.append(step)
        if step.verb in ("call", "program", "choose") and way is None:
            self._call = step

    def _leads(self, action: Action, steps: Steps, way: Way | None) -> None:
        """Stop, go on, try again: no step, but where the one before it leads."""
        retry = self._call if action.verb == "retry" else None
        if action.verb == "retry" and retry is None:
            raise Mistake(action.sentence, f'"{action.words}": no call before it')
        if steps:
            steps[-1].ends, steps[-1].to, steps[-1].back = action.verb == "stop", action.to, retry
        elif way is not None:
            way.ends, way.to, way.direct = action.verb == "stop", action.to, retry
        else:
            raise Mistake(action.sentence, f'"{action.words}": nothing was done before it')

    def _step(self, verb: str, action: Action, name: str, fields: dict[str, Any]) -> Step:
        if action.said is not None:
            fields = {**fields, "text": {self._pack.languages[0]: action.said}}
        return Step(self._id(name), action.sentence, verb, action.words, fields)

    def _id(self, name: str) -> str:
        base = re.sub(r"\W+", "_", name).strip("_").lower()
        found, count = base, 1
        while found in self._ids:
            count += 1
            found = f"{base}_{count}"
        self._ids.add(found)
        return found

    def _ask(self, action: Action, steps: Steps) -> Step:
        slots = action.slots or self._asked
        if not slots:
            raise Mistake(action.sentence, f'"{action.words}": nothing was asked for before')
        fields: dict[str, Any] = {"slots": list(slots)}
        any_of = action.any_of or (not action.slots and self._call is not None and self._alternative(slots))
        if any_of and len(slots) > 1:
            fields["any_of"] = True
        if not action.again:
            self._asked = slots
            self._known.asked |= set(slots)
            return self._step("ask", action, f"ask_{slots[0]}", fields)
        if self._call is None:
            raise Mistake(action.sentence, f'"{action.words}": no call before it that could be made again')
        step = self._step("ask", action, f"ask_{slots[0]}_again", {"forget": list(slots), **fields})
        step.back = self._call
        return step

    def _alternative(self, slots: tuple[str, ...]) -> bool:
        tool = self._pack.tools.get(str(self._call.fields.get("tool"))) if self._call else None
        groups = [{tool.slots.get(name, name) for name in group} for group in tool.alternatives] if tool else []
        return any(set(slots) <= group for group in groups)

    def _choose(self, action: Action, steps: Steps) -> Step:
        items, key = action.items
        if self._known.fact(items) is None:
            raise Mistake(action.sentence, f"nothing gives `{items}`: say of a call that it gives the `fact`")
        schema = self._known.items(items)
        label = dict.fromkeys(self._pack.languages, f"{{item.{key}}}")
        chosen = str(action.gives)
        self._known.answers.append(Answer(chosen, schema))
        fields = {"choices": {"items": items, "id": f"item.{key}", "label": label, "save": chosen}}
        return self._step("choose", action, f"choose_{chosen}", fields)

    def _confirm(self, action: Action, steps: Steps) -> Step:
        fact = str(action.gives)
        self._known.answers.append(Answer(fact, {}))
        step = self._step("confirm", action, f"ask_{fact}", {"confirm": fact})
        step.granted = fact
        return step

    def _hand_over(self, action: Action, steps: Steps) -> Step:
        reason = "_".join(re.findall(r"[a-z]+", re.sub(r'"[^"]*"', "", action.words).lower())[:6])
        fields: dict[str, Any] = {"handover": True, "reason": reason}
        if action.name:
            fields["skill_group"] = action.name
        return self._step("hand_over", action, "hand_over", fields)

    def _consent(self, action: Action, steps: Steps) -> Step:
        return self._wanting("consent", action)

    def _approve(self, action: Action, steps: Steps) -> Step:
        return self._wanting("approve", action)

    def _wanting(self, verb: str, action: Action) -> Step:
        step = self._step(verb, action, f"ask_{verb}", {verb: ""})
        self._open.append((step, verb))
        return step

    def _tool(self, action: Action, steps: Steps) -> Step:
        tool = self._pack.tools[action.name]
        args = self._arguments(action, tool, steps)
        fields: dict[str, Any] = {"tool": tool.name}
        policies = self._pack.policies
        identity, authorises = tool.name in policies.identity_tools, tool.name in policies.authorisation_tools
        if not (tool.writes or identity or authorises):
            fields["repeat"] = True
        if args:
            fields["args"] = args
        fact = action.gives or ("identity" if identity else "permission" if authorises else None)
        if fact:
            fields["save"] = {fact: "result"}
            self._known.answers.append(Answer(fact, output_of(self._pack, tool), not tool.writes, identity))
        step = self._step("call", action, tool.name, fields)
        if fact and (identity or authorises):
            when = policies.identity_when if identity else policies.authorisation_when
            step.granted = substituted(when, "result", fact)
        if tool.writes:
            for open_, verb in self._open:
                open_.fields[verb] = step.id
            self._open = []
        return step

    def _program(self, action: Action, steps: Steps) -> Step:
        program = self._pack.programs[action.name]
        args = self._said(action, dict.fromkeys(program.parameters))
        for name in program.required:
            if name not in args:
                args[name] = self._value(action, name, name, steps)
        fields: dict[str, Any] = {"program": program.name, "args": args}
        if action.gives:
            fields["save"] = {action.gives: "result"}
            self._known.answers.append(Answer(action.gives, dict(program.output)))
        return self._step("program", action, program.name, fields)

    def _arguments(self, action: Action, tool: Tool, steps: Steps) -> dict[str, Any]:
        args = self._said(action, dict(tool.properties))
        missing: list[str] = []
        for name in tool.required:
            schema = tool.properties.get(name, {})
            if name in args or "default" in schema or "const" in schema:
                continue
            slot = tool.slots.get(name, name)
            args[name] = self._value(action, name, slot, steps, missing)
        for group in tool.alternatives:
            slots = tuple(slot for name in group if (slot := tool.slots.get(name, name)) in self._pack.slots)
            if slots and not set(slots) & self._known.asked and not set(group) & args.keys():
                steps.append(self._ask(replace(action, verb="ask", slots=slots, any_of=True, said=None), steps))
        if missing:
            steps.append(self._ask(replace(action, verb="ask", slots=tuple(missing), said=None), steps))
        return {name: args[name] for name in tool.properties if name in args}

    def _value(self, action: Action, name: str, slot: str, steps: Steps, missing: list[str] | None = None) -> str:
        giver = self._known.giver(name)
        if giver:
            return f"${giver}"
        if slot not in self._pack.slots:
            raise Mistake(
                action.sentence,
                f"`{action.name}` needs `{name}`, and nothing gives it: say (`{name}` is `value`), or of a call that it gives it",
            )
        if slot not in self._known.asked and missing is not None:
            missing.append(slot)
        return f"${slot}"

    def _said(self, action: Action, parameters: dict[str, Any]) -> dict[str, Any]:
        args = bindings(words_of.parenthesised(action.words), self._known.fact)
        for name in args.keys() - parameters.keys():
            raise Mistake(action.sentence, unknown(name, parameters, f"parameter of `{action.name}`,"))
        return dict(args)
