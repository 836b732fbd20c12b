"""The platform's tables: registry, versions, endpoints, installs and their switches."""
