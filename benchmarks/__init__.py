"""Measurements of DESIGN 13: real nodes, real TLS, a real disk. Owns figures; asserts nothing."""
