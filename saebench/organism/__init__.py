"""The embedded subject: a world of text with known truth, a small language model of it, and a zoo of SAEs."""
