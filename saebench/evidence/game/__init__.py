"""Can the model tell features from made-up directions? The prompts, the fakes, and what the model answered."""
