"""Container images from ordinary Dockerfiles, built with whatever tool is there, on open and on closed networks."""
