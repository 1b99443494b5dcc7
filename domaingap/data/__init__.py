"""Data: readers, splits, prepared crops, augmentation, samplers and the Lightning data modules."""
