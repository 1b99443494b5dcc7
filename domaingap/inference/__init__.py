"""A trained network in use: pictures, videos and cameras in, landmarks and annotated pictures out."""
