"""Folders and files, on a file system or in a bucket."""
