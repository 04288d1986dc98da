"""The one record and the words that it is told in: scores, properties, places, names, budgets. It imports nothing of ours."""
