"""How the embedded model and its SAEs were made."""
