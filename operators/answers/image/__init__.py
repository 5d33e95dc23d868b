"""A picture that is its own answer."""
