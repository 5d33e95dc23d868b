"""Facts over time and between answers: who is who, how far away."""
