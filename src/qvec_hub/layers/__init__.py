"""NODOC layers"""
