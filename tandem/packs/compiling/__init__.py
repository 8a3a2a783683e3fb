"""From a procedure in plain language to its flow: the controlled language, and what a flow keeps from its last version."""
