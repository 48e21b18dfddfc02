"""Every picture of the project, and ``report.html``."""
