"""Scores of other machines and projects: merging, verifying, SAEBench's JSON."""
