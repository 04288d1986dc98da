"""A language model by itself: loading it, texts as tokens, activations, and random weights in its place."""
