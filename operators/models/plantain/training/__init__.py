"""How the embedded model learns; production never imports it."""
