"""What the billing service answers: each method converts, calls a use case, converts back."""
