"""The commit of the code, for the cards of weights."""

import subprocess
from pathlib import Path


def current_commit() -> str:
    """The commit of the checkout, or `unknown` outside of one."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()
