"""A study's W&B workspace and W&B report as code: what they are about, their panels, and how they get to the service.

Never run against W&B's service: tested against a stand-in for it, whose requests are read back with W&B's own classes.
"""
