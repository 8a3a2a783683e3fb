"""The whole platform in one process: the same services, on one wiring."""
