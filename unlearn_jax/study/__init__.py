"""Claims and what supports them: run directories, reports, figures."""
