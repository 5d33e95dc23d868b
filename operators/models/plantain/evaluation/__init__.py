"""How right the embedded model is; production never imports it."""
