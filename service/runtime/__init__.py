"""What a process runs on: settings, logs, metrics, traces, health, resources and shutdown."""
