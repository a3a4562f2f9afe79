"""Thin ways in: the facade and the command. Decides nothing about storage."""
