"""Flat tables in Parquet, and how they are read again."""
