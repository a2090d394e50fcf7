"""NODOC publish"""
