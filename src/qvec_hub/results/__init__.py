"""NODOC results"""
