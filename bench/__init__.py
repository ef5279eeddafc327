"""Measures the proxy beside nginx, Varnish, stock Django and bare loops, on loopback."""
