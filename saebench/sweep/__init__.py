"""Many SAEs on many machines: what is run where, how it is run there, and how its scores come together."""
