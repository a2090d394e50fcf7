"""NODOC artifact"""
