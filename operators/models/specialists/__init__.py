"""Models of the transformers and diffusers libraries that answer with values: masks, boxes, metres, words."""
