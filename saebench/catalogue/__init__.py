"""A name becomes a spec, from data files and headers of weights alone."""
