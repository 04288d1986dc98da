"""What texts are labelled with, and what a few latents, all of them, or the activation itself say of it."""
