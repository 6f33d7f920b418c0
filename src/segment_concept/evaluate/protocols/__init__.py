"""One module per family of scoring protocols; `registry` lists them by name."""
