"""Sharing work among processes and machines. It knows nothing of videos."""
