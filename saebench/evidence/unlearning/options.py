"""How many answers a question has."""

OPTIONS = 4
CHANCE = 1 / OPTIONS
"""Share of questions that are answered rightly by someone who knows nothing."""
