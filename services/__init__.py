"""Every folder here is a deployable."""
