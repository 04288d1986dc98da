"""What a topic is, which latents are of it, and what a model still knows when they are clamped."""
