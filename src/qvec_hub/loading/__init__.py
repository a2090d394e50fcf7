"""NODOC loading"""
