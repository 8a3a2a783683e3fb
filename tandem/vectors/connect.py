"""Which adapter a deployment uses: a Qdrant server if one is set, else the engine in the process."""

from __future__ import annotations

from tandem.settings import Settings
from tandem.vectors.base import Vectors


def connect(settings: Settings) -> Vectors:
    """The deployment's vectors. Only the adapter in use is imported: each brings a client of its own."""
    if settings.qdrant_url:
        from tandem.vectors.server import server_vectors

        return server_vectors(settings.qdrant_url, settings.prefix)
    from tandem.vectors.edge import edge_vectors

    return edge_vectors(settings.home / "vectors", settings.prefix)
