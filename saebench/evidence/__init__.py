"""What is read off an SAE once, for all properties that ask."""
