"""NODOC search"""
