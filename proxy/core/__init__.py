"""HTTP caching as pure functions: no clock, no I/O, no logging, no Django."""
