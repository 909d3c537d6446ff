"""One HTML page, with its pictures, of what a work directory holds."""
