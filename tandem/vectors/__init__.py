"""Vectors: passages found by meaning and by words. One port, two adapters."""
