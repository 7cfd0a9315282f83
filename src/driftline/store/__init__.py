"""PostgreSQL: one file per noun, plain functions that take a connection; the caller owns the transaction.

Times are microseconds since the epoch in Python and `timestamptz` in SQL. Connections come from
`Database`, which teaches psycopg both that and NumPy arrays.
"""
