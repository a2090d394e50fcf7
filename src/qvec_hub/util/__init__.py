"""NODOC util"""
