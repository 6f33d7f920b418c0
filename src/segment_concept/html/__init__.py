"""How the pages that the package writes look."""
