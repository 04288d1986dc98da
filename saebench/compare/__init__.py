"""Is one score better than another? Differences, baselines, the gate, rankings."""
