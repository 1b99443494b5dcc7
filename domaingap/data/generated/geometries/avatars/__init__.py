"""VALID's avatars (Do et al., Frontiers in Virtual Reality 2023): people with photo-like colour maps on one atlas."""
