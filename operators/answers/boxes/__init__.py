"""Things in boxes, as detectors find them."""
