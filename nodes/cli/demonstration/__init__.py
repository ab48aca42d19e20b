"""The demonstration for a police chief: three real nodes on this machine, one kidnapping, claims that are checked
(`tocsin demo`).
"""
