"""Synchronous calls: ports, gRPC clients, and the generated stubs in `v1/`."""
