"""Tandem: digital employees for customer service."""
