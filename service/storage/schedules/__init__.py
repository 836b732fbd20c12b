"""Schedule rows and their timers."""
