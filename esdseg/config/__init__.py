"""The typed configuration trees, and how files, flags and assignments become one."""
