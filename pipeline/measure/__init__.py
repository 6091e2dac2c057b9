"""Every number that is compared, defined once."""
