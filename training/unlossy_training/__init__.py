"""Building training data for Unlossy, training it and measuring it."""
