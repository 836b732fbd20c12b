"""Copies of the contract made from its types: AsyncAPI, JSON Schema, TypeScript, WIT."""
