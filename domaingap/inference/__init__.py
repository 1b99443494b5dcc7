"""Trained networks in use: on pictures, on video, and in other programs."""
