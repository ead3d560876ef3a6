"""A real Kubernetes of one node in namespaces of its own: see ../README.md."""
