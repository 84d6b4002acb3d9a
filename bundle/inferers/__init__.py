"""How a network is run over a whole volume."""
