"""What a test may ask for of every SAE, by the name of an argument, where the services of a run make it."""
