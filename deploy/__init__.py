"""Where Plantain runs: the command line, the service, and Ray. The only package that imports Ray."""
