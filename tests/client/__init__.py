"""Tests of the call path: from an operation and its fields to bytes on a socket, and back."""
