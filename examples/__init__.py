"""Examples: a business system, an adapter, an agent."""
