"""The crash and durability campaign (docs/reliability.md): real nodes under load, faults drawn from a seed, a checker
that believes only what was recorded outside.
"""
