"""Tables and figures that people look at."""
