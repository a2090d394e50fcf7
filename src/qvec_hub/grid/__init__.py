"""NODOC grid"""
