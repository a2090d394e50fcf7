"""NODOC transfer"""
