"""The rules, a module for each chapter of them.

Rules state the expected status codes and fields themselves. They do not read `brokerkit.endpoints`, the table
that the server and the client share, so that the checker is an independent oracle for both.
"""
