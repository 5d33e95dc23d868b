"""Metric depth, drawn along a path of colours."""
