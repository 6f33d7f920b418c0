"""Scoring by each benchmark's own protocol."""
