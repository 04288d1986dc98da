"""pytest's side of a run: options, fixtures, reports, workers."""
