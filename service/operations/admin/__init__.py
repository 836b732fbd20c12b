"""The operations of operators and tenant administrators."""
