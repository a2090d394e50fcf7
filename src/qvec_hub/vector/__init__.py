"""NODOC vector"""
