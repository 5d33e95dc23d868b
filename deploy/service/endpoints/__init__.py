"""What is done at each address of the HTTP application."""
