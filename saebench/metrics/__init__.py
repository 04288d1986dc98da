"""Pure functions, one file per question: tensors in, an `Estimate` or an `Unscored` out."""
