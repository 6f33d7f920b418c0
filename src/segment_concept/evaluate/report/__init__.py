"""What a run came to, for people: report.md, report.html and report.json."""
