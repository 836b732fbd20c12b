"""What bounds and orders work in memory: queues, limiters, batches."""
