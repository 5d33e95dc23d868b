"""Surface normals, drawn as colours."""
