"""Helpers for all rooms, without knowledge of vectors or models: untrusted input, validation, atomic
folders, progress.

Imports only `errors` and `version`.
"""
