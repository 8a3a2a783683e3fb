"""Settings of the router."""

from __future__ import annotations

from tandem.settings import Settings


class RouterSettings(Settings):
    """The router has none of its own."""
