"""NATS: connections, requests and replies, discovery."""
