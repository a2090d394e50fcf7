"""NODOC apply"""
