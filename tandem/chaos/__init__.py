"""The promise under faults: a seeded simulation in one process, and plans played on real processes."""
