"""How the operators are joined: a graph of stages, and the engine that moves batches between them.

Imports operators, never Ray. `video.build_graph` is the file to open first.
"""
