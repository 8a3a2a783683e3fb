"""The only door to the outside world: runs tool calls by the effect protocol."""
