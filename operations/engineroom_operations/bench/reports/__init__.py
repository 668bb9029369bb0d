"""A report as JSON, CSV, Markdown, one page of HTML, and as tables for a terminal."""
