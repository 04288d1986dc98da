"""Worlds of activations whose features are known exactly."""
