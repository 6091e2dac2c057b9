"""The compiler of the Edge TPU: run where it is installed, and what is known of it where it is not.

It is closed, last released in 2021 as 16.0, and in no package registry. What it does is known from
its documentation and from what its users report.
"""
