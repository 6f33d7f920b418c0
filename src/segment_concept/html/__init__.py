"""Toolkit for the HTML pages that the package writes: templates and charts."""
