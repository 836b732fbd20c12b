"""What ``check`` looks at: each module finds what is right and wrong with one neighbour."""
