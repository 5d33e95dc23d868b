"""Regions with names: semantic classes, instances, referred things."""
