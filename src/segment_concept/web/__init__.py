"""The page: prompt, track, review and correct in a browser. Needs the extra `web`."""
