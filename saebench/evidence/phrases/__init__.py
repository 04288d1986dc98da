"""Phrases about what a feature's description is made of, and where the feature's latent is active on them."""
