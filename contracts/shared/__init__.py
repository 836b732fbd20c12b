"""What the programs on both sides of the wire do alike, and what never crosses it.

It is here because ``runner_bridge`` and ``service`` know no other package in common.
"""
