"""Copies of the contract in other notations, made from its types: AsyncAPI, JSON Schema, TypeScript, WIT."""
