"""The API under /api/v1/: what the pages do, by the same services, for programs. See docs/architecture.md, "API"."""
