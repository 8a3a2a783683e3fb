"""Generated from `proto/`; never edited. `python -m tandem.rpc.generate` writes them again."""
