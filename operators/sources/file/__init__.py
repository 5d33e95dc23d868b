"""Video files: whole, or in parts side by side."""
