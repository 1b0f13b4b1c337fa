"""Attacks on the operator: S01 to S40 of the threat model in docs/security.md.

A test's name begins with its case, test_s01_...; each of its parameters is one payload. `python -m tests.attacks`
counts them.
"""
