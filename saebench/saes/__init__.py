"""What an SAE is, how each format is read, and the guard around whatever strangers' code does."""
