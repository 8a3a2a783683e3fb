"""llm_gateway: every model call of the platform."""
