"""A study on one HTML page that needs nothing else: what stands on it, and how it is drawn."""
