"""Cameras and other streams that cannot be read again."""
