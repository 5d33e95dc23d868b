"""The embedded generalist: one small prompt-driven network, its training and its scores."""
