"""The table engine: sorted ``key value`` tables of millions of rows, held as bytes and arrays."""
