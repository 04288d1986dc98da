"""Intervals, tests and seeds over arrays of numbers: what is measured, and on which SAE, is not known here."""
