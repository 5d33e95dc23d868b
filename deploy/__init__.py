"""Where Plantain runs: the command line, Ray, and (later) the service. The only package that imports Ray."""
