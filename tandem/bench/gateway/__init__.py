"""`tandem bench gateway`: what the gateway adds to a model call, measured against a stub of a model."""
