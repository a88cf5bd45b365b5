"""Pairs of degraded and clean audio: encoding, the dataset, and how training reads it."""
