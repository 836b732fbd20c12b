"""From a due timer to a finished run: planner, queue, firing, events and maintenance."""
