"""Agent configs of the other libraries, one module a library."""
