"""router: one customer message in, one routed message out. Stateless."""
