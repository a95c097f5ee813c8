"""Code for any SQL database: the tables, and reading logs from them and writing logs to them."""
