"""A business's system: the operations of its tool schemas over its records, each checked, none half done."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

from jsonschema_rs import Draft202012Validator

from tandem.bench.tau import airline, retail
from tandem.bench.tau.data import Arguments, Domain
from tandem.bench.tau.records import Database, Refusal

Operation: TypeAlias = Callable[..., Any]

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST_SUM = 500


def calculate(db: Database, expression: str) -> float:
    """Numbers, + - * / and parentheses; two decimals."""
    try:
        return round(_number(ast.parse(expression[:_LONGEST_SUM].strip(), mode="eval").body), 2)
    except (SyntaxError, ValueError, ArithmeticError) as error:
        raise Refusal("expression-invalid", "Error: invalid expression") from error


def think(db: Database, thought: str) -> str:
    return ""


def transfer_to_human_agents(db: Database, summary: str) -> str:
    return "Transfer successful"


COMMON: dict[str, Operation] = {f.__name__: f for f in (calculate, think, transfer_to_human_agents)}
OWN: dict[str, dict[str, Operation]] = {"retail": retail.OPERATIONS, "airline": airline.OPERATIONS}
WRITES: frozenset[str] = retail.WRITES | airline.WRITES
"""Operations that change records; all others only read."""


@dataclass(frozen=True)
class Call:
    """A call that reached the system, and how it ended."""

    name: str
    arguments: Arguments
    key: str = ""  # of the request
    error: str = ""
    code: str = ""  # of the error

    @property
    def writes(self) -> bool:
        return self.name in WRITES


class Office:
    """One session with the system of a domain, over records of its own."""

    def __init__(self, domain: Domain) -> None:
        self.db = Database(domain.tables)
        self.calls: list[Call] = []
        self._operations = COMMON | OWN[domain.name]
        self._schemas = domain.schemas
        self._answers: dict[tuple[str, str], Any] = {}

    def call(self, name: str, arguments: Arguments, key: str = "") -> Any:
        """Carry out an operation. A write with a key that was used before changes nothing and answers the same.

        Raises Refusal; then nothing has changed.
        """
        if (name, key) in self._answers:
            return deepcopy(self._answers[name, key])
        try:
            with self.db.transaction():
                answer = self._checked(name, arguments)(self.db, **deepcopy(arguments))
        except Refusal as refusal:
            self.calls.append(Call(name, arguments, key, refusal.message, refusal.code))
            raise
        self.calls.append(Call(name, arguments, key))
        if key and name in WRITES:
            self._answers[name, key] = deepcopy(answer)
        return deepcopy(answer)

    def _checked(self, name: str, arguments: Arguments) -> Operation:
        function = self._operations.get(name)
        if function is None:
            raise Refusal("unknown-operation", f"There is no operation {name}")
        schema = self._schemas.get(name, {}).get("parameters", {})
        wrong = next(Draft202012Validator(schema, offline=True).iter_errors(arguments), None)
        if wrong is not None:
            where = ".".join(map(str, wrong.instance_path))
            raise Refusal("arguments-invalid", f"{where or name}: {wrong.message}")
        try:
            inspect.signature(function).bind(self.db, **arguments)
        except TypeError as error:
            raise Refusal("arguments-invalid", f"{name}: {error}") from error
        return function


def _number(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_number(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_number(left), _number(right))
    raise ValueError("not arithmetic")
