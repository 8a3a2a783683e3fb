"""`python -m tandem.chaos.next_release run SERVICE`: the service of a release to come, as far as a rolling upgrade meets it.

Every message and every ticket has a field that this release does not know. It is written at once, which is harsher than
the rule that a field is read one release before it is written.
"""

from __future__ import annotations

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tandem.asyncapi import all_messages
from tandem.cli import main
from tandem.contracts.ticket import Ticket

FIELD = "next_release"


def add_field(kind: type[BaseModel]) -> None:
    """A field with a default, as an additive change brings it."""
    kind.__pydantic_fields__[FIELD] = FieldInfo(annotation=str, default="2")
    kind.model_rebuild(force=True)


def become() -> None:
    """Change the contracts of this process, before any service is imported."""
    add_field(Ticket)
    for kind in all_messages().values():
        add_field(kind)


if __name__ == "__main__":
    become()
    main()
