"""NODOC cards"""
