"""Scores as pages: Markdown, pictures, HTML."""
