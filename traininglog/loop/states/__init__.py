"""The states of objects, as plain data and arrays: of whatever a program trains, and draws from."""
