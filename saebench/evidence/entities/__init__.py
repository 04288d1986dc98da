"""Entities whose attributes are known: what the model says of them, and what it says with some of an SAE's latents patched."""
