"""The engine: decides which batch goes to which worker, and when; never touches pixels."""
