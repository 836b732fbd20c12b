"""What is accepted and when it is due: pure functions, without a clock, a socket or SQL."""
