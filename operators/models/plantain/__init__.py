"""The embedded generalist: one small prompt-driven network, its training and its scores."""

HANDFUL = 4
"""Frames that one core encodes together: 12.4, 10.1 and 8.7 ms a frame for 1, 2 and 4 (measured 2026-11-21)."""
