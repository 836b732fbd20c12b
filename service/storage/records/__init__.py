"""What changes leave behind: audit, outbox, idempotency, and its expiry."""
