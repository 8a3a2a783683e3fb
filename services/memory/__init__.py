"""memory: what was said and what is known, a projection of `ticket.events`."""
