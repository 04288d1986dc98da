"""What lies on this machine, and what must be fetched."""
