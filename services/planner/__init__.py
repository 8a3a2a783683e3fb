"""The planner: the owner of tickets, and the worker that plans."""
