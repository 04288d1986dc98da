"""Words with concepts that are known: how the model reads them, what probes and latents find in them."""
