"""
larger_than_memory
==================
"""
