"""The operations of an extension on its own schedules."""
