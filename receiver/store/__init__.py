"""What we keep: the only room with SQL."""
