"""A procedure is rehearsed before release: scripted customers against the planner's own judgement, with no network."""
