"""Models that work together as one backend: each wraps backends that answer, so they nest in any order."""
