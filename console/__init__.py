"""The console: web pages for operators and tenants, a client of the bus and nothing else."""
