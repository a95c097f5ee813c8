"""What any SQL database can do: the tables, and how a log is read from and written to them."""
