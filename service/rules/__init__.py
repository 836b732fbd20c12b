"""Validation and the computation of slots: pure functions, without a clock, a socket or SQL."""
