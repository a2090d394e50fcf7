"""NODOC baselines"""
