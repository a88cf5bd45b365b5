"""Measuring a checkpoint on recordings or pairs, and the tables and figures of it."""
