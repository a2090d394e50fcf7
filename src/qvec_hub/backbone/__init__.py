"""NODOC backbone"""
