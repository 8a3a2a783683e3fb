"""What the services agree on: messages, the ticket, the topic registry. No I/O."""
