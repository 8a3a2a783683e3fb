"""Tickets whose model is hostile: whatever it answers, no call is made that nobody permitted, and no secret is told."""
