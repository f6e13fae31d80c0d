"""Configuration: `base.yaml`, and one small file per environment over it."""
