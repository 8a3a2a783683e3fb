"""Packs: what a business brings, as data. Load, check, compile."""
