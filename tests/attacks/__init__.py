"""Hostile input: bodies and configurations in files, and generators for what would make large files."""
