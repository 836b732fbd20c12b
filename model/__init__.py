"""A model of planning and of attempts for the checker spin, and its runs."""
