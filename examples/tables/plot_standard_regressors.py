"""
Standard regressors
===================
"""
