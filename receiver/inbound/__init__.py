"""Callbacks come in: read, decide, write."""
