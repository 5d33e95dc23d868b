"""Demo, scores and lessons: what production never imports."""
