"""Requests to the Hub: the client and its errors, repository paths, verified downloads, and commits.

Knows files and commits, and nothing of what is in them beyond `artifact`.
"""
