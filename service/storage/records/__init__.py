"""Records of changes: audit entries, events, stored results, rate windows, and their expiry."""
