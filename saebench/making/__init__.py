"""SAEs that are made here: controls, damaged ones, and all that are trained."""
