"""Runs the whole system on one machine: embedded servers, the stack, the demo and `dev`."""
