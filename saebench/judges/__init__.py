"""Who judges an explanation of a latent: the embedded model's world, a language model of this machine, or an endpoint."""
