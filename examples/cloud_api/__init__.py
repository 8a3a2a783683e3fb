"""The business system behind the example pack: a small cloud provider's back office.

It knows nothing of Tandem. It records every side effect with its idempotency key, so that a judge can count them, and it
can be slow or fail on demand.
"""
